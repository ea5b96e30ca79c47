"""The figures of a site's interventions, flat; those that there was too little for are left out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from steps.diff.acts.edits import FORMS
from steps.diff.acts.removal import BEYOND

MODELS = ("tuned", "untuned")


def of(found: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Plain figures from the tables of `examine`, without the site's prefix."""
    parts = [_removed(found), _beside(found["effects"]), _dosed(found["doses"])]
    parts += [_grouped(found["groups"]), _moved(found["transfer"])]
    whole = {name: float(value) for part in parts for name, value in part.items()}
    return {name: value for name, value in whole.items() if np.isfinite(value)}


def _removed(found: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    table, effects = found["removal"], found["effects"]
    once = table[table["form"] == FORMS[0]]
    clean = effects[effects["asked"] == "relation"].iloc[0]
    metrics = {"chosen": len(once), "selected": once["selected"].sum()}
    metrics |= {"adapted": once["adapted"].sum(), "foils": once["foils"].min()}
    metrics |= {f"match/{name}": once[f"times_{name}"].median() for name in ("rate", "energy")}
    metrics |= {"accuracy": clean["accuracy_before"], "commonest": clean["commonest_before"]}
    for form in FORMS:
        rows = table[table["form"] == form]
        for name in ("drop", "selective", "separation", "elsewhere"):
            metrics[f"{form}/{name}"] = rows[name].mean()
        own = effects[(effects["role"] == "chosen") & (effects["form"] == form)]
        own = own.merge(rows, left_on=["name", "asked"], right_on=["feature", "relation"])
        metrics[f"{form}/accuracy"] = (own["accuracy_after"] - own["accuracy_before"]).mean()
        metrics[f"{form}/collapsed"] = rows["collapsed"].sum()
        if rows["quantile"].notna().to_numpy().any():
            metrics[f"{form}/quantile"] = rows["quantile"].median()
            metrics[f"{form}/quantile_separation"] = rows["quantile_separation"].median()
            metrics[f"{form}/beyond"] = rows["beyond"].sum()
            metrics[f"{form}/counts"] = rows["counts"].sum()
    return metrics


def _beside(effects: pd.DataFrame) -> dict[str, Any]:
    """What removal by projection does of foils, and to the rate of `yes`."""
    rows = effects[(effects["form"] == "project") & (effects["asked"] == "relation")]
    metrics = {
        f"{role}/drop": -rows.loc[rows["role"] == role, "change"].mean()
        for role in ("chosen", "matched", "random", "component", "unadapted")
    }
    asked = effects[(effects["asked"] == "existence") & (effects["role"] == "chosen")]
    asked = asked[asked["form"] == "project"]
    for when in ("before", "after"):
        share, yes = asked[f"commonest_{when}"], asked[f"answer_{when}"].str.strip() == "yes"
        metrics[f"yes/{when}"] = share.where(yes, 1 - share).mean()
    return metrics


def _dosed(table: pd.DataFrame) -> dict[str, Any]:
    metrics = {name: table[name].mean() for name in ("slope", "foils_slope", "up")}
    metrics["rising"] = ((table["low"] > 0) & (table["up"] == 1)).sum()
    if table["quantile"].notna().to_numpy().any():
        metrics["beyond"] = (table["quantile"] > BEYOND).sum()
    if "hurts_both" in table:
        metrics["hurts_both"] = table["hurts_both"].sum()
    return {f"dose/{name}": value for name, value in metrics.items()}


def _grouped(table: pd.DataFrame) -> dict[str, Any]:
    names = ("drop", "elsewhere", "foils_drop", "quantile")
    return {
        f"group/{row['size']}/{row['form']}/{name}": row[name]
        for row in table.to_dict("records")
        for name in names
    }


def _moved(table: pd.DataFrame) -> dict[str, Any]:
    """The ratio is that of mean drops, over features that have one: small ones weigh little."""
    names = [f"{figure}_{model}" for figure in ("drop", "separation") for model in MODELS]
    metrics = {name: table[name].mean() for name in names}
    told = table[table["ratio"].notna()]
    metrics["told"] = len(told)
    metrics["ratio"] = told["drop_untuned"].mean() / told["drop_tuned"].mean()
    return {f"transfer/{name}": value for name, value in metrics.items()}
