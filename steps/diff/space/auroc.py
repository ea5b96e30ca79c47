"""How well a number tells scenes of one kind from the rest, of many features at once.

    AUROC = (R_1 - n_1 (n_1 + 1) / 2) / (n_1 n_0)

R_1 is the sum of the ranks of the n_1 scenes of the kind, ties at their mean rank: the chance that
a scene of the kind has the larger value, ties counted half (Mann & Whitney 1947). Under exchange of
labels it has mean 1/2 and variance  sum (r - mean r)^2 / (n (n - 1) n_1 n_0), which has the usual
correction for ties in it: a sparse code is zero on most scenes.
"""

import numpy as np
from scipy.stats import norm, rankdata


def ranks(x: np.ndarray) -> np.ndarray:
    """Ranks of each column of x [n, f] from 1 on, ties at their mean; float64 [n, f]."""
    return rankdata(x, axis=0)


def auroc(ranked: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """AUROC of each feature for each kind, float64 [kinds, f]; ranked [n, f], labels [kinds, n].

    Both kinds of labels must occur in each row, or the figure is not a number.
    """
    ones = labels.sum(1, keepdims=True).astype(float)
    sums = labels.astype(float) @ ranked
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums - ones * (ones + 1) / 2) / (ones * (labels.shape[1] - ones))


def greater(ranked: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """One-sided p that a feature is larger on scenes of a kind, [kinds, f]; normal approximation.

    1 where a feature does not vary. Shapes as in `auroc`.
    """
    n = len(ranked)
    ones = labels.sum(1, keepdims=True).astype(float)
    spread = np.square(ranked - ranked.mean(0)).sum(0)
    error = np.sqrt(spread / (n * (n - 1) * ones * (n - ones)))
    above = auroc(ranked, labels) - 0.5
    steady = error <= 0
    return np.where(steady, 1.0, norm.sf(above / np.where(steady, 1.0, error)))
