"""The picture of interventions: responses to doses, and removals among their foils."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

INK, CHOSEN, FOIL = "#222222", "#d1495b", "#8d99ae"


def figure(shown: Sequence[tuple[str, dict[str, pd.DataFrame]]], path: Path, beyond: float) -> None:
    """A row a site: dose and response, and the drops by removal among those of foils, as a PNG.

    shown: sites with the tables of `examine`. beyond: the quantile of foils that is marked.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    style = {"font.size": 9, "axes.edgecolor": INK, "text.color": INK}
    with plt.rc_context(style):
        size = (9.6, 0.4 + 3.5 * len(shown))
        plot, axes = plt.subplots(
            len(shown), 2, figsize=size, dpi=150, layout="constrained", squeeze=False
        )
        for (site, found), (left, right) in zip(shown, axes, strict=True):
            _doses(left, found["effects"])
            left.set_title(f"{site}: dose and response", loc="left", weight="bold")
            _removals(right, found, beyond)
            right.set_title(f"{site}: removal", loc="left", weight="bold")
            for one in (left, right):
                one.spines[["top", "right"]].set_visible(False)
        plot.savefig(path, metadata={"Software": None})  # no version inside: equal bytes
        plt.close(plot)


def _doses(axes: Any, effects: pd.DataFrame) -> None:
    rows = effects[effects["asked"].str.startswith("toward ")]
    foils = rows[rows["role"] == "matched"].groupby("amount")["change"]
    if len(foils):
        low, high = (_with_zero(foils.quantile(q)) for q in (0.05, 0.95))
        axes.fill_between(
            low.index, low, high, color=FOIL, alpha=0.45, lw=0, label="foils, 5 to 95 %"
        )
    chosen = rows[rows["role"] == "chosen"]
    label: str | None = "chosen, toward their relation"
    for _, one in chosen.groupby("name"):
        curve = _with_zero(one.set_index("amount")["change"])
        axes.plot(curve.index, curve, color=CHOSEN, lw=1.1, alpha=0.8, label=label)
        label = None
    axes.axhline(0, color=INK, lw=0.6)
    axes.set_xlabel("dose (typical activations added)")
    axes.set_ylabel("change of log-odds")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _with_zero(curve: pd.Series) -> pd.Series:
    return pd.concat([curve, pd.Series({0.0: 0.0})]).sort_index()


def _removals(axes: Any, found: dict[str, pd.DataFrame], beyond: float) -> None:
    """The chosen features' selective drops, each relation's over those of the same foils."""
    chosen = found["removal"]
    chosen = chosen[chosen["form"] == "project"]
    foils = _selective(found["effects"], sorted(set(chosen["relation"])))
    values = np.concatenate([foils, chosen["selective"].to_numpy()])
    bins = np.linspace(values.min(), values.max(), 36).tolist()
    axes.hist(foils, bins, color=FOIL, alpha=0.75, label="matched foils")
    if len(foils):
        limit = float(np.quantile(foils, beyond))
        label = f"{beyond:.0%} of foils"
        axes.axvline(limit, color=INK, lw=1.2, ls=(0, (4, 3)), label=label)
    top = max(axes.get_ylim()[1], 1.0)
    for counts, dash, name in ((True, "-", "chosen, counts"), (False, ":", "chosen, does not")):
        label: str | None = name
        for value in chosen.loc[chosen["counts"] == counts, "selective"]:
            axes.plot([value] * 2, [0, 0.12 * top], color=CHOSEN, lw=1.8, ls=dash, label=label)
            label = None
    axes.set_xlabel("drop of the margin, own relation minus others")
    axes.set_ylabel("foils")
    axes.legend(frameon=False, fontsize=8, loc="upper right")


def _selective(effects: pd.DataFrame, relations: Sequence[str]) -> np.ndarray:
    """Selective drops of the matched foils, for each of the relations."""
    rows = effects[(effects["role"] == "matched") & (effects["form"] == "project")]
    wide = rows.pivot_table(index="name", columns="asked", values="change")
    items = rows.groupby("asked")["items"].first()
    found = []
    for relation in relations:
        if relation in wide:
            others = items["relation"] - items[relation]
            rest = wide["relation"] * items["relation"] - wide[relation] * items[relation]
            found.append((rest / others - wide[relation]).to_numpy())
    return np.concatenate(found) if found else np.zeros(0)
