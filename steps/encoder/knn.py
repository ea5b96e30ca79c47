"""DINO's weighted k nearest neighbours: what features tell with nothing trained.

Features are normalised to length 1; of the k training samples most similar to an image, each votes
for its class with weight exp(similarity / temperature) (Wu et al. 2018, arXiv 1805.01978; in DINO,
Caron et al. 2021, and facebookresearch/dinov2, `dinov2/eval/knn.py`). There k is read off the
validation set; here a slice of train chooses it.
"""

from collections.abc import Sequence

import numpy as np
import torch

from steps.encoder.logistic import check, slices
from steps.stage import StageError

KS, TEMPERATURE = (10, 20, 100, 200), 0.07
QUERIES, BLOCK = 1024, 8192  # images asked about, and training samples compared, at a time


def predict(
    train_x: np.ndarray,
    train_codes: np.ndarray,
    x: np.ndarray,
    classes: int,
    ks: Sequence[int] = KS,
    temperature: float = TEMPERATURE,
    rows: np.ndarray | None = None,
) -> dict[int, np.ndarray]:
    """For each k the codes int64 [M] told of features x [M, D]; of tied classes, the first.

    train_x [N, D] and integer train_codes [N], of which `rows` are the neighbours to be had
    (default all); a k above their number takes them all. Memory does not grow with N, but for the
    labels. Raises StageError for a k below 1, else as `logistic.check` does.
    """
    rows = check(train_x, train_codes, classes, rows)
    if not ks or min(ks) < 1:
        raise StageError(f"k-NN got k = {list(ks)}: each must be at least 1, and one is needed")
    labels = torch.from_numpy(train_codes[rows].astype(np.int64))
    told = {k: np.empty(len(x), np.int64) for k in ks}
    for first in range(0, len(x), QUERIES):
        asked = slice(first, first + QUERIES)
        near, whose = neighbours(x[asked], train_x, max(ks), rows)
        # Divided by the nearest one's: the same vote, which cannot overflow.
        weight, said = ((near - near[:, :1]) / temperature).exp(), labels[whose]
        for k in ks:
            votes = torch.zeros(len(near), classes, dtype=near.dtype)
            votes.scatter_add_(1, said[:, :k], weight[:, :k])
            told[k][asked] = votes.argmax(1).numpy()
    return told


def neighbours(
    x: np.ndarray, train_x: np.ndarray, k: int, rows: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k rows of train_x [N, D] most similar to each of x [M, D], the nearest first.

    Returns similarities [M, k] and positions int64 [M, k] in `rows`. Computed in float32, in
    float64 where the features are.
    """
    kind = np.result_type(x, train_x, np.float32)
    asked = _unit(x, kind)
    near, whose = asked.new_empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.int64)
    for first in range(0, len(rows), BLOCK):
        similar = asked @ _unit(train_x[rows[first : first + BLOCK]], kind).T
        here, which = similar.topk(min(k, similar.shape[1]))
        near, whose = torch.cat([near, here], 1), torch.cat([whose, which + first], 1)
        near, kept = near.topk(min(k, near.shape[1]))  # the best of all blocks so far
        whose = whose.gather(1, kept)
    return near, whose


def choose(
    x: np.ndarray,
    codes: np.ndarray,
    classes: int,
    ks: Sequence[int] = KS,
    share: float = 0.1,
    seed: int = 0,
    temperature: float = TEMPERATURE,
) -> int:
    """The k of `ks` that tells a slice (`share`) of train best from the rest of it.

    x [N, D] and codes [N] are train's. Of equals the smallest k. Raises as `predict` does.
    """
    chosen, rest = slices(len(check(x, codes, classes)), share, seed)
    told = predict(x, codes, x[chosen], classes, sorted(ks), temperature, rest)
    return max(told, key=lambda k: (told[k] == codes[chosen]).mean())


def _unit(x: np.ndarray, kind: np.dtype) -> torch.Tensor:
    """Rows of x [N, D] at length 1; a row of zeros stays one."""
    return torch.nn.functional.normalize(torch.from_numpy(x.astype(kind)), dim=1)
