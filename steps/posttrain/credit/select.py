"""Which tokens of an answer are anchors: the share of it that is most tied to the image.

AT-RL (2602.11455) partitions a graph of tokens by METIS and takes the clusters that look at the
image most, about 15 % of the tokens. Its graph and its number of clusters are not published: here
a token is joined to the ten whose look at the image is most alike (cosine of where attention
falls, with its logarithm beside it), and METIS makes at least 2 / share parts, since its parts are
of equal size: fewer could not come near the share. `topk` and `kmeans` are there to compare.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from steps.posttrain.credit.seen import Seen

NEIGHBOURS = 10


def most(values: Tensor, mask: Tensor, share: float) -> Tensor:
    """The ceil(share x length) tokens [B, T] of each answer with the largest values.

    Of equal values the earlier comes first. An empty answer has none.
    """
    count = (mask.sum(1, keepdim=True) * share).double().sub(1e-9).ceil()
    ranked = values.float().masked_fill(~mask, -torch.inf)
    ranked = ranked.argsort(dim=1, descending=True, stable=True)
    return (ranked.argsort(dim=1) < count) & mask


def topk(seen: Seen, share: float) -> Tensor:
    """The share of each answer's tokens with the largest density [B, T]."""
    assert seen.density is not None
    return most(seen.density, seen.mask, share)


def metis(seen: Seen, share: float) -> Tensor:
    """Parts of a token graph by METIS, those of largest density first, until the share is met."""
    return _clustered(seen, share, _parts)


def kmeans(seen: Seen, share: float) -> Tensor:
    """The same with k-means for METIS."""
    return _clustered(seen, share, _means)


def _clustered(seen: Seen, share: float, cluster: Callable) -> Tensor:
    assert seen.density is not None and seen.pattern is not None
    chosen = np.zeros(seen.mask.shape, bool)
    for i, mask in enumerate(seen.mask.cpu().numpy()):
        rows = np.flatnonzero(mask)
        density = seen.density[i].cpu().numpy()[rows].astype(float)
        pattern = seen.pattern[i].cpu().numpy()[rows].astype(float)
        if len(rows):
            labels = cluster(features(density, pattern), min(round(np.ceil(2 / share)), len(rows)))
            chosen[i, rows] = _densest(labels, density, share)
    return torch.from_numpy(chosen).to(seen.mask.device)


def features(density: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Rows [T, F + 1] of unit length: a token's pattern and, beside it, its log density.

    Both parts are scaled alike over the answer: how much a token looks counts as well as where.
    """
    shape = pattern / np.maximum(np.linalg.norm(pattern, axis=1, keepdims=True), 1e-12)
    depth = np.log(np.maximum(density, 1e-9))
    depth = (depth - depth.mean()) / max(depth.std(), 1e-9)
    rows = np.column_stack([shape, depth])
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _densest(labels: np.ndarray, density: np.ndarray, share: float) -> np.ndarray:
    """Whole clusters by mean density until `share` of the tokens is reached, bool [T]."""
    ranked = sorted(set(labels.tolist()), key=lambda part: -density[labels == part].mean())
    chosen = np.zeros(len(labels), bool)
    for part in ranked:
        if chosen.sum() >= share * len(labels) - 1e-9:
            break
        chosen |= labels == part
    return chosen


def _parts(rows: np.ndarray, count: int) -> np.ndarray:
    import pymetis

    near = min(NEIGHBOURS, len(rows) - 1)
    if near == 0 or count == 1:
        return np.arange(len(rows)) % count
    alike = rows @ rows.T
    np.fill_diagonal(alike, -np.inf)
    edge = np.zeros(alike.shape, bool)
    np.put_along_axis(edge, np.argsort(-alike, axis=1, kind="stable")[:, :near], True, axis=1)
    edge |= edge.T
    weights = np.where(edge, np.rint(500 * (1 + alike)).clip(1), 0).astype(int)
    starts = np.concatenate([[0], edge.sum(1).cumsum()])
    graph = pymetis.CSRAdjacency(starts, np.flatnonzero(edge.ravel()) % len(rows))
    _, labels = pymetis.part_graph(count, graph, eweights=weights[edge])
    return np.asarray(labels)


def _means(rows: np.ndarray, count: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(rows, axis=0)))
    return KMeans(count, n_init=1, random_state=0).fit_predict(rows)


SELECT = {"topk": topk, "metis": metis, "kmeans": kmeans}
"""How anchors are selected."""
