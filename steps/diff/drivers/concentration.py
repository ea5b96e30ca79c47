"""On how few heads an effect rests, whether two ways to measure it agree, and how sure that is."""

import warnings
from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

RESAMPLES = 1000
LEADERS = 5
"""How many leading heads two measurements are compared on; fewer where there are less than ten."""


def gini(effects: np.ndarray) -> float:
    """Gini coefficient of |effects| [n]: 0 for even, 1 - 1/n for one head alone.

    sum_i (2 i - n - 1) x_i / (n sum_i x_i), over values in ascending order, i from 1.
    """
    x = np.sort(np.abs(effects))
    n = len(x)
    return float(((2 * np.arange(1, n + 1) - n - 1) * x).sum() / max(n * x.sum(), 1e-300))


def lorenz(effects: np.ndarray) -> np.ndarray:
    """Share of sum |effects| that the 0, 1, ..., n strongest hold [n + 1] (falling order)."""
    x = np.sort(np.abs(effects))[::-1]
    return np.concatenate([[0], x.cumsum() / max(x.sum(), 1e-300)])


def few(share: float, count: int) -> int:
    """How many of `count` heads a share of them is: at least one."""
    return max(1, int(np.ceil(share * count - 1e-9)))


def held(effects: np.ndarray, ranked_by: np.ndarray, top: int) -> float:
    """Share of sum |effects| [n] on the `top` heads that are strongest by |ranked_by| [n]."""
    best = np.argsort(-np.abs(ranked_by), kind="stable")[:top]
    return float(np.abs(effects)[best].sum() / max(np.abs(effects).sum(), 1e-300))


def agreement(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """spearman, sign and top: how two sets of effects [n] of the same heads agree.

    sign: share of heads with one sign in both. top: share of the LEADERS strongest by `one` (at
    most half of n) that are among those of `other`; by chance it is their number over n.
    """
    lead = max(1, min(LEADERS, len(one) // 2))
    tops = [set(np.argsort(-np.abs(x), kind="stable")[:lead]) for x in (one, other)]
    return {
        "spearman": spearman(one, other),
        "sign": float((np.sign(one) == np.sign(other)).mean()),
        "top": len(tops[0] & tops[1]) / lead,
    }


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two sets of values [n]; NaN where one of them is constant."""
    ranks = [rankdata(x) - (len(x) + 1) / 2 for x in (one, other)]
    scale = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / scale) if scale > 0 else float("nan")


def means(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means over resampled scenes of values [S, ...]: [RESAMPLES, ...].

    Scenes that are NaN for a column are no part of it.
    """
    n, flat = len(values), values.reshape(len(values), -1)
    counts = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(float)
    known = ~np.isnan(flat)
    with np.errstate(invalid="ignore"):
        found = counts @ np.where(known, flat, 0) / (counts @ known)
    return found.reshape(RESAMPLES, *values.shape[1:])


def interval(
    values: np.ndarray,
    rng: np.random.Generator,
    figure: Callable[[np.ndarray], float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of 95 % percentile intervals of the means over scenes of values [S, ...].

    figure: of these means, taken together, the interval of one number instead.
    """
    drawn = means(values, rng)
    if figure is not None:
        drawn = np.array([figure(one) for one in drawn])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice")
        low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    return low, high
