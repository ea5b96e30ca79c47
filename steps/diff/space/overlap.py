"""Are features of a concept found among those that tuning turned more often than by chance?

A feature that fires often is both easier to find with a concept and moved more by a fit, so chance
keeps each feature's decile of firing rates: marks are permuted within deciles. That null is in
closed form, a sum of hypergeometric counts, so nothing is drawn.
"""

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

STRATA = 10  # groups of equal size by firing rate
FEWEST = 5  # features of either set, below which an overlap says nothing
GROUP = 10  # features of a group, below which their share says nothing
AXES = ("beyond_x", "beyond_y", "corner")
"""Columns of compare's features.parquet: beyond the null on either order of the four cells, or on
both, which is the parent study's corner of the task."""


def enriched(chosen: np.ndarray, marked: np.ndarray, rate: np.ndarray) -> dict[str, float]:
    """How much more often chosen features are marked than others of their firing rate.

    chosen, marked bool [f]; rate [f]. both: features in both sets; expected: their number by
    chance; ratio of the two; odds: the common odds ratio over strata (Mantel & Haenszel 1959), left
    out where infinite; p: the chance of at least as many. Empty with FEWEST or less in either set.
    """
    if min(chosen.sum(), marked.sum()) < FEWEST:
        return {}
    stratum = np.argsort(np.argsort(rate, kind="stable")) * STRATA // len(rate)
    chance, expected, cross, across = np.ones(1), 0.0, 0.0, 0.0
    for s in range(STRATA):
        here = stratum == s
        n = int(here.sum())
        if n:
            one, other = chosen[here], marked[here]
            a, k, m = (int(part.sum()) for part in (one & other, one, other))
            chance = np.convolve(chance, hypergeom.pmf(np.arange(min(k, m) + 1), n, k, m))
            expected += k * m / n
            cross += a * (n - k - m + a) / n
            across += (k - a) * (m - a) / n
    both = int((chosen & marked).sum())
    found = {"both": float(both), "expected": expected, "p": float(min(chance[both:].sum(), 1.0))}
    if expected > 0:
        found["ratio"] = both / expected
    if across > 0:
        found["odds"] = cross / across
    return found


def overlaps(
    chosen: np.ndarray, rate: np.ndarray, compared: pd.DataFrame
) -> tuple[dict[str, float], dict[str, str]]:
    """`enriched` for each of AXES, and what share of each group of features is chosen.

    compared: compare's rows of the same features, in order; where a column is absent or empty
    (an arrow that was refused) there is an entry of why in the second dict instead of a figure.
    Groups: corner, single (beyond the null on one axis alone) and rest.
    """
    metrics: dict[str, float] = {}
    missing: dict[str, str] = {}
    columns = {name: _known(compared, name) for name in AXES}
    for name, values in columns.items():
        if values is None:
            missing[name] = "compare has no such figure here"
            continue
        known, marked = values
        found = enriched(chosen[known], marked[known], rate[known])
        metrics |= {f"{name}/{key}": value for key, value in found.items()}
        if not found:
            missing[name] = f"{chosen[known].sum()} features chosen, {marked[known].sum()} beyond"
    x, y, _ = columns.values()
    if x is not None and y is not None:
        known, one, other = x[0] & y[0], x[1], y[1]
        groups = {"corner": one & other, "single": one ^ other, "rest": ~one & ~other}
        for name, group in groups.items():
            here = group & known
            if here.sum() >= GROUP:
                metrics[f"share/{name}"] = float(chosen[here].mean())
            else:
                missing[f"share/{name}"] = f"{here.sum()} features"
    return metrics, missing


def _known(compared: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Which features have the mark's figure, and which of them the mark, bool [f]."""
    values = compared[name] if name in compared else pd.Series(dtype=float)
    known = values.notna().to_numpy()
    if not known.any():
        return None
    return known, values.where(known, False).to_numpy(dtype=bool)
