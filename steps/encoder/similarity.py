"""How alike two representations of the same things are, and how many directions one uses.

Representations are features [N, D], a row a thing; two may differ in width. No measure but the
neighbours' depends on where the features' zero lies.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

TIE = 1e-12
"""Cosines that differ by no more are equal: the order of a sum's terms must not break ties."""
SURE = 0.95
"""What `interval` covers."""


def cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centred kernel alignment, in [0, 1] (Kornblith et al. 2019, arXiv 1905.00414, eq. 4).

    |X'Y|^2 / (|X'X| |Y'Y|) in Frobenius norms, columns centred. It is 1 for features that are equal
    up to rotation, scale and shift. Grows with D / N for unrelated ones: see `cka_debiased`.
    Raises ValueError for features that do not vary.
    """
    x, y = _pair(x, y)
    return _inner(x, y) / (_inner(x, x) * _inner(y, y)) ** 0.5


def cka_debiased(x: np.ndarray, y: np.ndarray) -> float:
    """CKA by unbiased HSIC: about 0, of either sign, for unrelated features, however wide.

    HSIC_1 of Song et al. 2012 (JMLR 13) in the place of HSIC, as in Nguyen, Raghu and Kornblith
    2021 (arXiv 2010.15327, eq. 3), all rows in one batch. Raises ValueError for N < 4 and for
    features that do not vary.
    """
    x, y = _pair(x, y)
    if len(x) < 4:
        raise ValueError(f"unbiased HSIC needs 4 rows or more, and there are {len(x)}")
    return _hsic(x, y) / (_hsic(x, x) * _hsic(y, y)) ** 0.5


def _hsic(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased HSIC of linear kernels of centred features, N (N - 3) times.

    tr(KL) + (1'K1)(1'L1) / ((N - 1)(N - 2)) - 2 (1'KL1) / (N - 2), where K and L have no diagonal.
    Unbiased HSIC does not change when features are shifted; of centred ones, the rows of K with its
    diagonal add up to 0, and without it to minus the diagonal. So no N x N matrix is needed.
    """
    n, one, other = len(x), np.square(x).sum(1), np.square(y).sum(1)
    both = float(one @ other)
    spread = float(one.sum() * other.sum()) / ((n - 1) * (n - 2))
    return _inner(x, y) - both + spread - 2 * both / (n - 2)


def procrustes(x: np.ndarray, y: np.ndarray) -> float:
    """Half the orthogonal Procrustes distance, in [0, 1]: 1 - |X'Y| in the nuclear norm.

    X and Y centred, with a Frobenius norm of 1: Ding, Denain and Steinhardt 2021 (arXiv 2108.01661)
    take 2 - 2 |X'Y|, which is what the best rotation leaves of |X - Y|^2. Weighs small directions
    more than CKA does. Raises ValueError for features that do not vary.
    """
    x, y = (part / np.linalg.norm(part) for part in _pair(x, y))
    return max(0.0, 1 - float(np.linalg.svd(x.T @ y, compute_uv=False).sum()))


def effective_rank(x: np.ndarray) -> float:
    """In [1, min(N - 1, D)]: exp of the entropy of the singular values of X, centred.

    Roy and Vetterli 2007 (EUSIPCO), who divide singular values, not their squares, by their sum.
    Centred, so that a mean far from zero is no direction. Raises ValueError for features that do
    not vary.
    """
    sizes = np.linalg.svd(_centred(x), compute_uv=False)
    shares = sizes[sizes > 0] / sizes.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def participation_ratio(x: np.ndarray) -> float:
    """In [1, min(N - 1, D)]: (sum of variances)^2 / sum of their squares, over principal axes.

    Gao et al. 2017 (bioRxiv 214262). Weighs large directions more than `effective_rank`. Raises
    ValueError for features that do not vary.
    """
    variances = np.square(np.linalg.svd(_centred(x), compute_uv=False))
    return float(variances.sum() ** 2 / np.square(variances).sum())


def neighbours(x: np.ndarray, k: int) -> np.ndarray:
    """Weights [N, N], rows adding up to k: which are each row's k nearest others by cosine.

    1 for a neighbour, 0 for others. Those that lie equally far, at the edge of the k, share what is
    left of them, so that no order of the rows decides (texts of two scenes may be equal). Raises
    ValueError unless 1 <= k < N.
    """
    if not 1 <= k < len(x):
        raise ValueError(f"{k} neighbours of {len(x)} rows: give 1 to {len(x) - 1}")
    x = np.asarray(x, np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(float).tiny)
    near = x @ x.T
    np.fill_diagonal(near, -np.inf)
    edge = np.partition(near, len(x) - k, axis=1)[:, [len(x) - k]]
    inside, on = near > edge + TIE, np.abs(near - edge) <= TIE
    return inside + on * (k - inside.sum(1, keepdims=True)) / on.sum(1, keepdims=True)


def shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Share of each row's nearest that two weights from `neighbours` [N, N] have in common [N].

    Its mean is the mutual k-NN alignment of Huh et al. 2024 (arXiv 2405.07987, appendix A); by
    chance it is k / (N - 1).
    """
    return np.einsum("ij,ij->i", a, b) / a.sum(1)


def alignment(
    arm: np.ndarray, base: np.ndarray, text: np.ndarray, k: int, draws: int, rng: Any
) -> dict[str, float]:
    """Mutual k-NN of two encoders' features with those of texts about the same things, [N, D] each.

    align, align_base, align_gain: of `arm`, of `base`, their difference thing by thing; `_low` and
    `_high` are ends of their bootstrap intervals from `draws` samples. align_null: the mean over
    as many pairings of `arm` and text at random, `_high` their quantile SURE; align_chance.
    """
    near, mine, theirs = (neighbours(x, k) for x in (text, arm, base))
    own, other = shared(mine, near), shared(theirs, near)
    drawn = rng.integers(0, len(arm), (draws, len(arm)))
    found = {"align_chance": k / (len(arm) - 1)}
    for name, values in {"align": own, "align_base": other, "align_gain": own - other}.items():
        low, high = interval(values, drawn)
        found |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
    who, whom = np.nonzero(mine)
    orders = (rng.permutation(len(arm)) for _ in range(draws))
    null = [(mine[who, whom] * near[o[who], o[whom]]).sum() / near.sum() for o in orders]
    found |= {"align_null": float(np.mean(null)), "align_null_high": float(np.quantile(null, SURE))}
    return found


def interval(values: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap interval, at the level SURE, of a mean over things [N].

    drawn: indices [draws, N] of things, with replacement. Their values are kept, not found again
    among the drawn: a thing drawn twice would be its own nearest neighbour.
    """
    low, high = np.quantile(values[drawn].mean(1), [(1 - SURE) / 2, (1 + SURE) / 2])
    return float(low), float(high)


def moved(new: Iterable[np.ndarray], old: Iterable[np.ndarray]) -> float:
    """Relative change of weights: |new - old| / |old| over all their entries, in float64.

    Raises ValueError where shapes differ, or where `old` is nothing but zeros.
    """
    change = whole = 0.0
    for now, was in zip(new, old, strict=True):
        if now.shape != was.shape:
            raise ValueError(f"weights of shape {now.shape} cannot have been {was.shape}")
        was = was.astype(np.float64)
        change += float(np.square(now - was).sum())
        whole += float(np.square(was).sum())
    if not whole:
        raise ValueError("weights that are all zero have no relative change")
    return (change / whole) ** 0.5


def _pair(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(x) != len(y):
        raise ValueError(f"{len(x)} rows cannot be compared with {len(y)}: give the same things")
    return _centred(x), _centred(y)


def _centred(x: np.ndarray) -> np.ndarray:
    """Features without their mean, float64; where D > N rotated into N columns.

    A rotation keeps every inner product of rows, which is all that is measured here: X' = QR, so
    that R' takes the place of X, and no product is larger than the smaller of Gram and covariance.
    """
    x = np.asarray(x, np.float64)
    x = x - x.mean(0)
    if not x.any():
        raise ValueError("features that do not vary have neither rank nor likeness to others")
    return x if x.shape[1] <= len(x) else np.linalg.qr(x.T, mode="r").T


def _inner(x: np.ndarray, y: np.ndarray) -> float:
    """|X'Y|^2, which is the inner product tr(KL) of the Gram matrices."""
    return float(np.square(x.T @ y).sum())
