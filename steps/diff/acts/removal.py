"""What the removal of each chosen feature did, against its foils.

Two figures decide. *Selective*: the drop of the true answer's margin on the feature's own relation
minus the drop on the other relations. It is large, too, for a direction that merely says a word
more or less often whatever the image shows: where `left` is said less, scenes with `left` lose and
all others gain. So, *separation*: how much less the log-odds of the feature's relation set its own
scenes apart from the others, of which a shift that is the same on all scenes takes nothing away.

A removal counts where both are beyond the 95th percentile of the matched foils, the first one after
correction for the number of features chosen (Benjamini and Hochberg 1995), the second one with its
interval above zero, and where it did not make the model answer one word.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from steps.diff.acts import foils
from steps.diff.acts.edits import FORMS
from steps.diff.acts.outcomes import interval

BEYOND = 0.95
"""Quantile among matched foils beyond which a removal counts."""
RATE = 0.1
"""False discovery rate: with 100 foils p is .01 at least, too much for .05 of eight features."""

Drops = Mapping[tuple[str, int, str], np.ndarray]
"""Drop of the true answer's margin on each question [N], by an edit's role, name and form."""


def contrast(drop: np.ndarray, own: np.ndarray) -> float:
    """Mean drop on questions of a feature's own relation (mask [N]) minus that on the others."""
    return float(drop[own].mean() - drop[~own].mean())


def verdicts(
    chosen: pd.DataFrame,
    near: Mapping[int, np.ndarray],
    drops: Drops,
    shifts: Mapping[str, Drops],
    elsewhere: Drops,
    kind: np.ndarray,
    counts: np.ndarray,
    elsewhere_counts: np.ndarray,
    collapsed: Mapping[tuple[int, str], bool],
) -> pd.DataFrame:
    """One row a chosen feature and form of removal.

    chosen: a table with columns feature and relation, which are kept with all others. near: its
    matched foils. drops: of roles feature and random, on questions of `kind` [N]; shifts: by
    relation, the same of its log-odds, whatever is true; elsewhere: of role feature, on questions
    of other kinds. counts and elsewhere_counts: `resampled`. collapsed: by feature and form.

    drop (own relation), selective, separation, elsewhere: each with _low and _high. foils: how
    many; quantile, p, p_adjusted: of `selective` among them; quantile_separation, quantile_drop: of
    these; quantile_random: of `selective` among random directions. NaN where foils are too few.
    beyond: by `selective` alone. counts: as said above.
    """
    found = []
    for row in chosen.to_dict("records"):
        feature, own = row["feature"], kind == row["relation"]
        for form in FORMS:
            key, shift = ("feature", feature, form), shifts[row["relation"]]
            rivals = [("feature", int(f), form) for f in near[feature]]
            random = [key for key in drops if (key[0], key[2]) == ("random", form)]
            mine, rest, same = (
                counts[:, m] @ d[m] / m.sum()
                for d, m in ((drops[key], own), (drops[key], ~own), (shift[key], ~own))
            )
            drawn = {"drop": mine, "selective": mine - rest, "separation": mine - same}
            drawn["elsewhere"] = elsewhere_counts @ elsewhere[key] / len(elsewhere[key])
            value = contrast(drops[key], own)
            entry = row | {"form": form, "foils": len(rivals), "selective": value}
            entry |= {
                "drop": float(drops[key][own].mean()),
                "separation": contrast(shift[key], own),
            }
            entry["elsewhere"] = float(elsewhere[key].mean())
            for name, values in drawn.items():
                entry[f"{name}_low"], entry[f"{name}_high"] = interval(values)
            entry["quantile"], entry["p"] = foils.quantile(
                value, np.array([contrast(drops[k], own) for k in rivals])
            )
            for name, against, values in (
                ("random", value, [contrast(drops[k], own) for k in random]),
                ("separation", entry["separation"], [contrast(shift[k], own) for k in rivals]),
                ("drop", entry["drop"], [drops[k][own].mean() for k in rivals]),
            ):
                entry[f"quantile_{name}"], _ = foils.quantile(against, np.array(values))
            found.append(entry | {"collapsed": collapsed[feature, form]})
    table = pd.DataFrame(found)
    table["p_adjusted"] = np.nan
    for form in FORMS:
        told = (table["form"] == form) & table["p"].notna()
        if told.to_numpy().any():
            table.loc[told, "p_adjusted"] = false_discovery_control(table.loc[told, "p"])
    table["beyond"] = table["quantile"] > BEYOND
    table["counts"] = table["beyond"] & (table["p_adjusted"] <= RATE) & ~table["collapsed"]
    table["counts"] &= (table["quantile_separation"] > BEYOND) & (table["separation_low"] > 0)
    return table


def transfer(
    chosen: pd.DataFrame,
    near: Mapping[int, np.ndarray],
    tuned: Drops,
    untuned: Drops,
    shifts: Mapping[str, tuple[Drops, Drops]],
    kind: np.ndarray,
    counts: np.ndarray,
) -> pd.DataFrame:
    """One row a chosen feature: its removal (`project`) in the model before tuning and after it.

    shifts: by relation, drops of its log-odds in the tuned and in the untuned model. Of each model,
    on the feature's own relation: drop and separation (as in `verdicts`). ratio, ratio_low,
    ratio_high: of the untuned model's drop to the tuned one's, NaN where the interval of the latter
    does not lie above zero. quantile_untuned: of the selective drop among the matched foils,
    removed in the untuned model as well.
    """
    found = []
    for feature, relation in zip(chosen["feature"], chosen["relation"], strict=True):
        own = kind == relation
        after, before = (drops["feature", feature, "project"] for drops in (tuned, untuned))
        drawn = [counts[:, own] @ drop[own] / own.sum() for drop in (after, before)]
        others = [contrast(untuned["feature", int(f), "project"], own) for f in near[feature]]
        row = {"feature": feature, "relation": relation}
        row |= {"drop_tuned": after[own].mean(), "drop_untuned": before[own].mean()}
        for name, shift in zip(("tuned", "untuned"), shifts[relation], strict=True):
            row[f"separation_{name}"] = contrast(shift["feature", feature, "project"], own)
        row |= dict.fromkeys(("ratio", "ratio_low", "ratio_high"), np.nan)
        if interval(drawn[0])[0] > 0:
            row["ratio"] = row["drop_untuned"] / row["drop_tuned"]
            row["ratio_low"], row["ratio_high"] = interval(drawn[1] / drawn[0])
        row["quantile_untuned"], _ = foils.quantile(contrast(before, own), np.array(others))
        found.append(row)
    return pd.DataFrame(found)
