"""Multinomial logistic regression, its penalty chosen on a slice of train: DINO's own probe.

The protocol is DINOv2's and DINOv3's (facebookresearch/dinov2, `dinov2/eval/log_regression.py`):
45 values of C, the best on a slice of train, then one more fit on all of train; the test images are
looked at once. The objective is scikit-learn's, on standardised features:

    C * sum_i cross_entropy_i  +  0.5 * |W|^2.

The intercept is not penalised. Everything is float64 and read in chunks, features straight from a
float16 file if need be: never are all logits, or a second copy of the features, in memory.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from steps.stage import StageError

GRID = tuple(10.0 ** np.linspace(-6, 5, 45))
"""DINO's values of C; see `path`."""
ITERATIONS, CHUNK = 1000, 4096  # DINO's limit; samples held as float64 at a time
TOLERANCE = 1e-9
"""scikit-learn's `tol`, 1e-4 there, which for 40 samples of 60 features at C = 100 stops so early
that probabilities of new samples are up to 0.24 off the optimum's. DINO's is 1e-12."""


def fit(
    x: np.ndarray,
    codes: np.ndarray,
    classes: int,
    c: float,
    start: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> np.ndarray:
    """Weights [D + 1, classes], the intercept last, of features x [N, D] and integer codes [N].

    `x @ w[:-1] + w[-1]` are the logits of raw features. start: weights of such a fit to begin from.
    rows: the samples to use, default all. tolerance: the largest slope of the mean loss at which to
    stop. By L-BFGS (Liu & Nocedal 1989). Raises as `check` does.
    """
    from scipy.optimize import minimize

    rows = check(x, codes, classes, rows)
    mean, scale = scaling(x, rows)
    # Of two classes scikit-learn fits one column of weights: two columns of half the size each,
    # and so with half the sum of squares.
    n, c = len(rows), c / 2 if classes == 2 else c

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(-1, classes)
        raw = onto_raw(w, mean, scale)
        loss, slope = 0.0, np.zeros_like(w)
        for numbers, part in chunks(x, rows):
            y, logits = codes[numbers], part @ raw[:-1] + raw[-1]
            logits -= logits.max(1, keepdims=True)
            line = np.arange(len(y))
            own = logits[line, y].sum()
            error = np.exp(logits, out=logits)
            total = error.sum(1, keepdims=True)
            loss += np.log(total).sum() - own
            error /= total
            error[line, y] -= 1
            slope[:-1] += part.T @ error
            slope[-1] += error.sum(0)
        slope[:-1] = (slope[:-1] - np.outer(mean, slope[-1])) / scale[:, None]
        loss += 0.5 / c * (w[:-1] ** 2).sum()
        slope[:-1] += w[:-1] / c
        return loss / n, slope.ravel() / n

    w = np.zeros((x.shape[1] + 1, classes))
    if start is not None:
        w[:-1], w[-1] = start[:-1] * scale[:, None], start[-1] + mean @ start[:-1]
    limits = {"maxiter": ITERATIONS, "gtol": tolerance, "ftol": 64 * np.finfo(float).eps}
    found = minimize(objective, w.ravel(), jac=True, method="L-BFGS-B", options=limits)
    return onto_raw(found.x.reshape(-1, classes), mean, scale)


def path(
    x: np.ndarray,
    codes: np.ndarray,
    classes: int,
    cs: Sequence[float] = GRID,
    share: float = 0.1,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> tuple[np.ndarray, float]:
    """The weights of `fit` on all of x [N, D] at the best C of `cs`, and that C.

    Best is the highest accuracy on a slice (`share`) of the samples, after a fit on the others; of
    equals, the stronger penalty. Each fit starts where the one before it ended.
    """
    chosen, rest = slices(len(check(x, codes, classes)), share, seed)
    w, best = None, (-1.0, 0.0, np.empty(0))
    for c in sorted(cs):
        w = fit(x, codes, classes, c, w, rest, tolerance)
        right = accuracy(x, codes, w, chosen)
        if right > best[0]:
            best = (right, c, w)
    return fit(x, codes, classes, best[1], best[2], tolerance=tolerance), best[1]


def check(
    x: np.ndarray, codes: np.ndarray, classes: int, rows: np.ndarray | None = None
) -> np.ndarray:
    """The numbers of the training samples, all of x [N, D] where `rows` is None.

    Raises StageError if there are none, fewer than two classes, or codes outside 0 .. classes - 1.
    """
    if len(x) != len(codes) or not len(codes if rows is None else rows):
        raise StageError(
            f"a probe got {len(x)} features, {len(codes)} labels and "
            f"{len(codes if rows is None else rows)} samples to train on: "
            "features and labels must be equally many, samples more than none"
        )
    rows = np.arange(len(codes)) if rows is None else rows
    known = np.unique(codes[rows])
    if classes < 2 or len(known) < 2:
        raise StageError(
            f"{len(rows)} training samples have the classes {known.tolist()} of {classes}: "
            "a probe needs two, give it more samples or leave this label out"
        )
    if known[0] < 0 or known[-1] >= classes:
        raise StageError(
            f"codes run from {known[0]} to {known[-1]}: number the {classes} classes from 0"
        )
    return rows


def slices(n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of n training samples, in two parts: `share` of them that choose, and the rest.

    The split of `classify.linear`, sorted, so that a file is read from front to back.
    """
    shuffled = np.random.default_rng([seed, 1]).permutation(n)
    held = max(1, round(share * n))
    return np.sort(shuffled[:held]), np.sort(shuffled[held:])


def scaling(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [D] and standard deviation [D] of rows of x, the latter 1 where nothing varies."""
    mean = sum(part.sum(0) for _, part in chunks(x, rows)) / len(rows)
    square = sum(((part - mean) ** 2).sum(0) for _, part in chunks(x, rows)) / len(rows)
    deviation = np.sqrt(square)
    return mean, np.where(deviation > 1e-8, deviation, 1.0)


def onto_raw(w: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Weights [..., D + 1, K] on standardised features, as weights on the raw ones."""
    inner = w[..., :-1, :] / scale[:, None]
    return np.concatenate([inner, w[..., -1:, :] - (mean @ inner)[..., None, :]], -2)


def accuracy(x: np.ndarray, codes: np.ndarray, w: np.ndarray, rows: np.ndarray) -> float:
    """Share of rows of x [N, D] that the weights w [D + 1, K] put into their class."""
    right = 0
    for numbers, part in chunks(x, rows):
        right += int(((part @ w[:-1] + w[-1]).argmax(1) == codes[numbers]).sum())
    return right / len(rows)


def chunks(x: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """CHUNK of the samples `rows` of x [N, D] at a time: their numbers, and float64 copies."""
    for first in range(0, len(rows), CHUNK):
        numbers = rows[first : first + CHUNK]
        yield numbers, x[numbers].astype(np.float64)
