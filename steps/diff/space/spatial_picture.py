"""The picture of the stage `spatial`: what the best features are worth, and what they follow."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.data.speech import RELATIONS
from steps.diff.relations import MIRROR
from steps.diff.space.follows import KINDS
from steps.diff.space.scored import Site
from steps.diff.turning.rotation import AFTER, DRIFT, INK

SIGHT, GROUND = "#2f6f9f", "#d9dee4"
COLOURS = dict(zip(KINDS, (AFTER, SIGHT, DRIFT), strict=True))
MOST = 6  # sites that a picture shows


def picture(
    sites: dict[str, Site], nulls: dict[str, pd.DataFrame], high: float, path: Path
) -> None:
    """A row a site. Left: AUROC of the best feature of each relation, chosen on other scenes.

    Right: what the mirror image does to features of left and right, against what the answer's
    word does; only the first MOST sites are shown. high: the bar that a selective feature has to
    reach.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(sites)[:MOST]
    with plt.rc_context({"font.size": 9.5, "axes.edgecolor": INK, "text.color": INK}):
        plot, axes = plt.subplots(
            len(names), 2, figsize=(10.5, 0.5 + 4.3 * len(names)), dpi=150,
            layout="constrained", squeeze=False,
        )  # fmt: skip
        for (left, right), name in zip(axes, names, strict=True):
            _best(left, sites[name], nulls[name], high)
            _followed(right, sites[name])
            left.set_title(f"{name}: best feature of each relation", loc="left", weight="bold")
            right.set_title(f"{name}: image or words", loc="left", weight="bold")
            for ax in (left, right):
                ax.spines[["top", "right"]].set_visible(False)
        plot.savefig(path, metadata={"Software": None})  # no version inside: equal bytes
        plt.close(plot)


def _best(ax: Any, site: Site, nulls: pd.DataFrame, high: float) -> None:
    names = [name for name in RELATIONS if name in site.relations]
    for i, name in enumerate(names):
        some = nulls[nulls["relation"] == name]
        chance = some[some["null"] == "permuted"]["report"]
        low, top = np.quantile(chance, [0.025, 0.975])
        ax.bar(
            i, top - low, 0.62, low, color=GROUND, label="labels permuted, 95 %" if not i else None
        )
        drawn = some[some["null"] == "random"]["report"]
        kinds = [
            (drawn, "x", DRIFT, 30, "random dictionaries"),
            ([site.metrics.get(f"before/{name}", np.nan)], "s", SIGHT, 28, "before tuning"),
            ([site.metrics[f"best/{name}"]], "o", AFTER, 46, "feature, tuned model"),
        ]
        for at, (values, mark, colour, size, label) in enumerate(kinds):
            x = np.full(len(values), i + 0.17 * (at - 1))
            said = label if not i else None
            ax.scatter(x, values, size, colour, mark, label=said, zorder=3)
        for method, style in (("ceiling", "-"), ("class_means", ":")):
            value = site.metrics.get(f"baseline/{method}/{name}", np.nan)
            said = method.replace("ceiling", "regression on the site").replace("_", " ")
            ax.hlines(value, i - 0.36, i + 0.36, INK, style, lw=1.3, label=said if not i else None)
    ax.axhline(0.5, color=INK, lw=0.7)
    ax.axhline(high, color=AFTER, lw=0.8, ls=(0, (4, 3)), label=f"bar for selective: {high:g}")
    ax.set_xticks(range(len(names)), names)
    ax.set_ylim(0.35, 1.0)
    ax.set_ylabel("AUROC on scenes that chose nothing")
    ax.legend(frameon=False, fontsize=7.8, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.07))


def _followed(ax: Any, site: Site) -> None:
    rows = site.table[site.table["mirrored"].notna()]
    turns = rows[rows["relation"].map(MIRROR) != rows["relation"]]
    for kind, colour in COLOURS.items():
        some = turns[turns["kind"] == kind]
        ends = np.stack([some["mirrored"] - some["mirrored_low"],
                         some["mirrored_high"] - some["mirrored"]])  # fmt: skip
        ax.errorbar(
            some["mirrored"], some["word"], xerr=ends, fmt="o", ms=4.5, lw=0.7, color=colour,
            label=f"left, right: follows {kind}",
        )  # fmt: skip
    control = rows.drop(turns.index)
    ax.scatter(
        control["mirrored"], control["word"], 22, "none", edgecolors=INK, lw=0.8,
        label="above, below: nothing to turn",
    )  # fmt: skip
    ax.axhline(0, color=INK, lw=0.7)
    ax.axvline(0, color=INK, lw=0.7)
    ax.set_xlabel("mirrored image, same words: towards the relation (sd)")
    ax.set_ylabel("answer's word, same image (sd)")
    ax.legend(frameon=False, fontsize=7.8, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.13))
