"""Ridge regression in closed form, for a whole path of penalties at the price of one.

Standardised features, +-1 targets, one factorisation, any number of penalties: big_vision's
few-shot evaluator (google-research/big_vision, `evaluators/fewshot_lsr.py`); DINOv2's logistic
probe sweeps its penalty likewise. The objective is scikit-learn's, on standardised features:

    sum_i |y_i - W'x_i - b|^2  +  penalty * |W|^2.

The intercept is not penalised. Everything is float64.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of n samples: all that ridge needs, whatever n.

    mean_x [D], mean_y [K]; xx [D, D] and xy [D, K]: sums of products of centred values.
    """

    n: int
    mean_x: np.ndarray
    mean_y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray


@dataclass(frozen=True)
class Path:
    """A factorised problem: `weights` is cheap for any penalty."""

    mean_x: np.ndarray
    mean_y: np.ndarray
    scale: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    target: np.ndarray


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    """Moments of features x [N, D] and targets y [N, K]."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = x.mean(0), y.mean(0)
    x -= mean_x
    return Moments(len(x), mean_x, mean_y, x.T @ x, x.T @ (y - mean_y))


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of two sets taken together (Chan, Golub & LeVeque 1983)."""
    n = a.n + b.n
    dx, dy, w = b.mean_x - a.mean_x, b.mean_y - a.mean_y, a.n * b.n / n
    return Moments(
        n,
        a.mean_x + dx * (b.n / n),
        a.mean_y + dy * (b.n / n),
        a.xx + b.xx + w * np.outer(dx, dx),
        a.xy + b.xy + w * np.outer(dx, dy),
    )


def factorise(m: Moments) -> Path:
    """Standardise and factorise: one eigendecomposition of the features' Gram matrix."""
    scale = _scale(np.sqrt(np.diag(m.xx) / m.n))
    values, vectors = np.linalg.eigh(m.xx / np.outer(scale, scale))
    target = vectors.T @ (m.xy / scale[:, None])
    return Path(m.mean_x, m.mean_y, scale, np.clip(values, 0, None), vectors, target)


def weights(path: Path, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights [D, K] and intercept [K] on the raw features, for one penalty (> 0)."""
    inner = path.vectors @ (path.target / (path.values + penalty)[:, None])
    w = inner / path.scale[:, None]
    return w, path.mean_y - path.mean_x @ w


def signs(codes: np.ndarray, classes: int) -> np.ndarray:
    """Targets [N, classes]: +1 in the column of a sample's class, -1 elsewhere."""
    return np.where(codes[:, None] == np.arange(classes), 1.0, -1.0)


def few(
    x: np.ndarray, y: np.ndarray, penalties: list[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ridge on a handful of samples x [N, D], y [N, K] (N may be far below D).

    Returns, for every penalty: weights [L, D, K], intercepts [L, K], and leave-one-out
    predictions [L, N, K], which need no further fit (Allen's PRESS; the features' mean and scale
    are those of all N).
    """
    mean, scale = x.mean(0), _scale(x.std(0))
    u, s, v = np.linalg.svd((x - mean) / scale, full_matrices=False)
    centre = y.mean(0)
    uy, n = u.T @ (y - centre), len(x)
    kept = s**2 / (s**2 + np.asarray(penalties)[:, None])  # [L, rank]
    fitted = centre + u @ (kept[:, :, None] * uy)
    lever = 1 / n + (u**2) @ kept.T  # [N, L]
    left_out = y - (y - fitted) / (1 - lever.T)[:, :, None]
    safe = np.where(s > 0, s, 1.0)
    w = v.T @ ((kept / safe)[:, :, None] * uy) / scale[:, None]
    return w, centre - mean @ w, left_out


def _scale(deviation: np.ndarray) -> np.ndarray:
    """Standard deviations, 1 for features that do not vary."""
    return np.where(deviation > 1e-8, deviation, 1.0)
