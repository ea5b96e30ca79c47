"""What is in each patch, and how well answers about it are: the figures of Patch-Seg.

Labels are those of Covert et al. 2024 (arXiv 2410.11087; iancovert/patch-seg,
`patchseg/transforms.py`): a patch has every class that one of its pixels has. Background is a class
like the others, but a patch has it only where it has nothing else. Scores are shares of patches,
macro over the classes that occur (`patchseg/loss.py`), and average precision, which that code
lacks. A patch without any label, all of its pixels ignored, counts nowhere.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from steps.stage import StageError

HALF = 0.5
THRESHOLDS = tuple(n / 20 for n in range(1, 20))
IMAGES = 256  # maps counted at a time


def labels(
    maps: np.ndarray, side: int, classes: int, kind: str = "union", ignored: int | None = None
) -> np.ndarray:
    """Multi-hot labels, bool [N, side^2, classes], of maps uint8 [N, H, W]; 0 is background.

    A pixel belongs to the patch in which its centre lies. kind: `union`, or `majority`, the class
    of most pixels, of equals the first. ignored: a value that stands for no class. `check` the maps
    first. Raises StageError for another kind and for maps smaller than the grid.
    """
    if kind not in ("union", "majority"):
        raise StageError(f"patch labels are `union` or `majority`, not {kind!r}")
    if min(maps.shape[1:]) < side:
        raise StageError(
            f"maps of {maps.shape[1]} x {maps.shape[2]} pixels are smaller than the grid of "
            f"{side} x {side} patches: store them at a higher resolution"
        )
    rows, columns = (((2 * np.arange(n) + 1) * side) // (2 * n) for n in maps.shape[1:])
    patch = rows[:, None] * side + columns
    found = np.zeros((len(maps), side**2, classes), bool)
    for first in range(0, len(maps), IMAGES):
        y = maps[first : first + IMAGES].astype(np.int64)
        seen = np.ones(y.shape, bool) if ignored is None else y != ignored
        cell = (np.arange(len(y))[:, None, None] * side**2 + patch) * classes + y
        pixels = np.bincount(cell[seen], minlength=len(y) * side**2 * classes)
        pixels = pixels.reshape(len(y), side**2, classes)
        part = found[first : first + len(y)]
        if kind == "majority":
            np.put_along_axis(part, pixels.argmax(2)[..., None], True, 2)
            part &= pixels > 0  # where nothing was counted, argmax says 0
        else:
            part[:] = pixels > 0
            part[..., 0] &= ~part[..., 1:].any(2)
    return found


def check(
    maps: np.ndarray,
    shape: Sequence[int],
    classes: int,
    train: np.ndarray,
    test: np.ndarray,
    ignored: int | None = None,
) -> int:
    """Patches along one side of the square grid of tokens of this shape, [N, P, D].

    Raises StageError if they make none, unless there is a map for each of N images and the splits,
    numbers of images, have no image in common, two to train on and one to test on, and something
    but background to learn, of the `classes` that have names (background included).
    """
    images, patches = shape[:2]
    side = round(patches**0.5)
    if side**2 != patches:
        raise StageError(f"{patches} patch tokens make no square grid: leave out class tokens")
    if maps.ndim != 3 or len(maps) != images:
        raise StageError(
            f"{images} images have tokens, but the maps' shape is {maps.shape}: it must be "
            f"[{images}, height, width], run `probes` and `features` again"
        )
    both = len(np.intersect1d(train, test))
    if len(train) < 2 or not len(test) or both:
        raise StageError(
            f"a probe of patches got {len(train)} training and {len(test)} test images, {both} of "
            "them in both: it needs two to train on and one to test on, and none in both"
        )
    for split, rows in (("training", train), ("test", test)):
        found = np.setdiff1d(np.unique(maps[rows]), [] if ignored is None else [ignored])
        if found.max(initial=0) >= classes:
            raise StageError(
                f"the {split} maps hold the class {found.max()}, but {classes} are named with "
                "background: name it, or say that this value is ignored"
            )
        if not len(found) or (split == "training" and found.max() == 0):
            raise StageError(
                f"all {split} maps are {'background' if len(found) else 'ignored'}: "
                "a probe of patches needs objects, give it other images or leave this map out"
            )
    return side


def counts(told: np.ndarray, y: np.ndarray, threshold: float) -> np.ndarray:
    """Patches of each image that are right, wrong and missed (tp, fp, fn): int [3, M, C].

    told: probabilities [M, P, C], or [M, 1, C] for one answer at every patch; yes is what is above
    the threshold. y: labels bool [M, P, C].
    """
    yes = (told > threshold) & y.any(2, keepdims=True)
    hit = (yes & y).sum(1)
    return np.stack([hit, yes.sum(1) - hit, y.sum(1) - hit])


def table(each: np.ndarray) -> pd.DataFrame:
    """Precision, recall and F1 by class from counts [3, C], of the classes that occur.

    Precision of a class that is never told is 0, as in scikit-learn; Patch-Seg's own is not a
    number there, and its mean with it.
    """
    hit, wrong, missed = each
    rows = pd.DataFrame(
        {
            "precision": hit / np.maximum(hit + wrong, 1),
            "recall": hit / np.maximum(hit + missed, 1),
            "f1": 2 * hit / np.maximum(2 * hit + wrong + missed, 1),
        }
    )
    return rows[hit + missed > 0]


def sweep(told: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    """Macro precision, recall and F1 at each of THRESHOLDS; told and y as in `counts`."""
    rows = [
        {"threshold": t} | table(counts(told, y, t).sum(1)).mean().to_dict() for t in THRESHOLDS
    ]
    return pd.DataFrame(rows)


def choose(rows: pd.DataFrame) -> float:
    """The threshold of the largest macro F1 in a `sweep`; of equals, the one nearest to half."""
    best = rows[rows.f1 == rows.f1.max()].threshold
    return float(best.loc[(best - HALF).abs().idxmin()])


def precisions(told: np.ndarray, y: np.ndarray) -> pd.Series:
    """Average precision by class, of the classes that occur; told and y as in `counts`.

    sum_n (R_n - R_n-1) P_n over the distinct probabilities, scikit-learn's definition: patches
    with the same answer enter together, so that one answer for all patches gains nothing by their
    order.
    """
    known = y.any(2)
    told, y = np.broadcast_to(told, y.shape)[known], y[known]
    found = {}
    for c in np.flatnonzero(y.any(0)):
        order = np.argsort(-told[:, c], kind="stable")
        score, hit = told[order, c], y[order, c].cumsum()
        last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # of each group of equals
        gained = np.diff(hit[last], prepend=0)
        found[c] = float((gained * hit[last] / (last + 1)).sum() / hit[-1])
    return pd.Series(found, dtype=float)


def prior(y: np.ndarray) -> dict[str, float]:
    """Macro F1 and mean average precision of a yes to every class at every patch of y [M, P, C].

    No answer that is independent of the labels is expected to do better.
    """
    share = y[y.any(2)].mean(0)
    share = share[share > 0]
    return {"f1": float((2 * share / (1 + share)).mean()), "map": float(share.mean())}
