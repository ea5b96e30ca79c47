"""How well each rule tells turned features from the others: rates, curves and their picture."""

from pathlib import Path

import numpy as np
import pandas as pd

FALSE = 0.01  # share of false positives at which detections are compared
QUARTER = 0.25  # a fixed share of the lowest cosines, for contrast
RULES = {
    "beyond": "quantile of the null",
    "matched": "of those that fire alike",
    "paired": "paired",
}
GROUPS = {"recovered": "", "alive": "_any"}
"""Features that count: those that are an atom, and all that live; their metrics' ending."""
INK, COLOURS = "#222222", {"beyond": "#d1495b", "matched": "#8d99ae", "paired": "#2f6690"}


def rates(features: pd.DataFrame, turned: np.ndarray) -> dict[str, float]:
    """How often each rule is right, at the null's 1 %, over all its thresholds and at 1 % false.

    features: verdicts (nulls.turned) with cosine, alive, atom, turned and recovered. turned: of all
    atoms, bool. recovered: share of the turned atoms that some feature is. For each rule: found and
    false, shares of turned and other features that it takes; precision, the share of those it takes
    that turned; auroc; found_at_1, found at 1 % false; all of features that are an atom, and
    ending in _any of all living ones. atoms: share of *all* turned atoms told by a feature nearest
    to them. quarter: precision of the lowest quarter of cosines. What is not defined is left out.
    """
    living = features[features["alive"]]
    lowest = living["cosine"] <= living["cosine"].quantile(QUARTER)
    found = {"quarter": living["turned"][lowest].mean()}
    if turned.any():
        known = np.unique(features["atom"][features["recovered"]])
        found["recovered"] = turned[known].sum() / turned.sum()
    for rule in RULES:
        if turned.any():
            told = np.unique(living["atom"][living[rule] & living["turned"]])
            found[f"atoms/{rule}"] = len(told) / turned.sum()
        for group, end in GROUPS.items():
            some = features[features[group]]
            yes, no = some[some["turned"]], some[~some["turned"]]
            found[f"found{end}/{rule}"] = yes[rule].mean()
            found[f"false{end}/{rule}"] = no[rule].mean()
            found[f"precision{end}/{rule}"] = some["turned"][some[rule]].mean()
    curve = curves(features)
    for rule in RULES:
        for group, end in GROUPS.items():
            mine = curve[(curve["rule"] == rule) & (curve["features"] == group)]
            if len(mine):
                found[f"auroc{end}/{rule}"] = np.trapezoid(mine["found"], mine["false"])
                few = mine["false"] <= FALSE
                found[f"found_at_1{end}/{rule}"] = mine["found"][few].max()
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def scores(features: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By rule, the number that it puts a threshold on, for features and null; large: turned.

    What is unsettled comes last.
    """
    unsettled = ~features["settled"].to_numpy()
    cosine, null = (np.where(unsettled, 2.0, features[name]) for name in ("cosine", "null"))
    quantile = features["quantile"].fillna(2.0).to_numpy()
    excess = np.where(unsettled, -360.0, features["excess"])
    even = (np.arange(len(features)) + 1) / len(features)  # a null's quantiles are uniform
    return {"beyond": (-cosine, -null), "matched": (-quantile, -even), "paired": (excess, -excess)}


def curves(features: pd.DataFrame) -> pd.DataFrame:
    """Shares found and false at every threshold, by rule and kind of features; from none to all.

    Columns: rule, features, score (the threshold), null (share of the null's features that exceed
    it), found, false. Empty where nothing, or everything, turned.
    """
    parts = []
    for rule, (score, null) in scores(features).items():
        for group in GROUPS:
            mine = features[group].to_numpy()
            truth, value = features["turned"].to_numpy()[mine], score[mine]
            if truth.all() or not truth.any():
                continue
            steps = np.r_[np.inf, np.unique(value)[::-1]]
            above = [np.searchsorted(np.sort(of), steps) for of in (value[truth], value[~truth])]
            counts = truth.sum(), (~truth).sum()
            found, false = (1 - at / n for at, n in zip(above, counts, strict=True))
            drift = np.sort(null[features["alive"]])
            part = {"rule": rule, "features": group, "score": steps, "found": found, "false": false}
            part["null"] = 1 - np.searchsorted(drift, steps) / len(drift)
            parts.append(pd.DataFrame(part))
    names = ["rule", "features", "score", "null", "found", "false"]
    return pd.concat(parts, ignore_index=True)[names] if parts else pd.DataFrame(columns=names)


def figure(curve: pd.DataFrame, metrics: dict[str, float], path: Path) -> None:
    """Found against false, a panel a case with turned atoms; dots at the null's 1 %; a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    cases = list(dict.fromkeys(curve["case"]))
    size = 2.5 * -(-len(cases) // 2) + 0.4, 6.0
    plot = Figure(figsize=size, dpi=150, layout="constrained")
    panels = list(plot.subplots(2, -(-len(cases) // 2), sharey=True, squeeze=False).flat)
    for axes in panels:
        axes.set_visible(False)
    for axes, case in zip(panels, cases, strict=False):
        axes.set_visible(True)
        for rule, colour in COLOURS.items():
            for (group, end), dash in zip(GROUPS.items(), ("-", ":"), strict=True):
                mine = curve[
                    (curve["case"] == case) & (curve["rule"] == rule) & (curve["features"] == group)
                ]
                axes.plot(mine["false"], mine["found"], dash, color=colour, lw=1.5)
                at = [metrics[f"planted/{case}/{kind}{end}/{rule}"] for kind in ("false", "found")]
                filled = colour if group == "recovered" else "white"
                axes.plot(*at, "o", color=colour, mfc=filled, ms=5, clip_on=False, zorder=3)
        axes.axvline(FALSE, color=INK, lw=0.8, ls=(0, (4, 3)))
        axes.set_xscale("symlog", linthresh=0.01)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.set_xticks([0, 0.01, 0.1, 1], ["0", ".01", ".1", "1"])
        axes.minorticks_off()
        gate = "refused" if metrics[f"planted/{case}/refused"] else "passes"
        axes.set_title(case, loc="left", fontsize=9, weight="bold")
        axes.set_title(f"gate: {gate}", loc="right", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    plot.supxlabel("features that did not turn, found", fontsize=9)
    plot.supylabel("turned features found", fontsize=9)
    lines = [Line2D([], [], color=COLOURS[rule], label=RULES[rule]) for rule in COLOURS]
    lines += [
        Line2D([], [], color=INK, ls=dash, label=label)
        for dash, label in (("-", "features that are an atom"), (":", "all living features"))
    ]
    lines.append(Line2D([], [], color=INK, marker="o", ls="", ms=5, label="at the null's 1 %"))
    plot.legend(
        handles=lines,
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=8,
        handlelength=1.6,
        columnspacing=1.2,
    )
    plot.savefig(path, metadata={"Software": None})  # no version inside: equal bytes
