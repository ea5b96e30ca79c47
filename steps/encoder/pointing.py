"""Whether a map of an image's patches lies on the object asked about: scores against true masks.

All scores are on the grid of patches, where a mask is the patches that the object fills to a
quarter at least. Each has the value that a map has which says nothing: the mask's share of the
grid, in the mean, for pointing and energy; 1 for enrichment. IoU takes each map's best threshold,
so that even a map whose patches are shuffled gets more than the mask's share; `chance` says what.
"""

from typing import Any

import numpy as np

FILLED = 0.25
"""The share of a patch that makes it the object's. Small objects (11 pixels) that lie across the
corner of four patches fill a third of each; half would leave them without any."""


def patches(masks: np.ndarray, side: int) -> np.ndarray:
    """Which patches belong to masks bool [N, H, W], bool [N, side * side] in reading order.

    Those that are FILLED, or where none is the fullest. Images are square. Raises ValueError for
    an empty mask.
    """
    edges = np.arange(side + 1) * masks.shape[1] / side
    pixel = np.arange(masks.shape[1])
    lies = np.minimum(pixel + 1, edges[1:, None]) - np.maximum(pixel, edges[:-1, None])
    lies = lies.clip(0) * side / masks.shape[1]  # of each patch, the share in a row of pixels
    share = (lies @ masks @ lies.T).reshape(len(masks), -1)
    if not share.any(1).all():
        raise ValueError(f"mask {int((~share.any(1)).argmax())} is empty")
    return share >= np.minimum(share.max(1, keepdims=True), FILLED) - 1e-9


def scores(maps: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of maps [N, P] (none negative) against masks bool [N, P], name to float64 [N].

    pointing: of the map's highest patches, the share in the mask. energy: of the map's sum, the
    share in the mask; enrichment: over the mask's share of the grid, `area`. elsewhere: enrichment
    in the other questions' masks, which a map that has a habit of place gets without looking. iou:
    at the map's best threshold. entropy: of the map as shares, 1 for even. A map that is zero
    everywhere counts as even. Raises ValueError for a map that is negative or not finite somewhere.
    """
    maps = np.asarray(maps, np.float64)
    if not np.isfinite(maps).all() or (maps < 0).any():
        raise ValueError("a map has values that are negative or not finite")
    maps = np.where(maps.sum(1, keepdims=True) > 0, maps, 1.0)
    share, area = maps / maps.sum(1, keepdims=True), inside.mean(1)
    top = maps == maps.max(1, keepdims=True)
    energy = (share * inside).sum(1)
    each = share @ inside.T / area
    others = np.where(np.eye(len(maps), dtype=bool), np.nan, each)
    bits = np.where(share > 0, share, 1.0)
    return {
        "pointing": (top & inside).sum(1) / top.sum(1),
        "energy": energy,
        "area": area,
        "enrichment": energy / area,
        "elsewhere": np.nanmean(others, 1) if len(maps) > 1 else np.ones(1),
        "iou": best_iou(maps, inside),
        "entropy": -(share * np.log(bits)).sum(1) / np.log(maps.shape[1]),
    }


def best_iou(maps: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Intersection over union of mask and thresholded map at its best threshold, float64 [N].

    Thresholds are the map's own values: patches of equal value are in together, or out.
    """
    order = np.argsort(-maps, 1, kind="stable")
    value = np.take_along_axis(maps, order, 1)
    hits = np.take_along_axis(inside, order, 1).cumsum(1)
    count = np.arange(1, maps.shape[1] + 1)
    iou = hits / (count + inside.sum(1, keepdims=True) - hits)
    last = np.pad(value[:, 1:] < value[:, :-1], ((0, 0), (0, 1)), constant_values=True)
    return np.where(last, iou, 0).max(1)


def chance(maps: np.ndarray, inside: np.ndarray, rng: Any, rounds: int = 20) -> np.ndarray:
    """The best IoU of the same values in random order, mean over `rounds`: float64 [N]."""
    drawn = [best_iou(rng.permuted(maps, axis=1), inside) for _ in range(rounds)]
    return np.mean(drawn, 0)


def alike(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Spearman's correlation of maps with others, both [N, P], row by row: float64 [N].

    Adebayo et al. (1810.03292) compare maps before and after randomisation by it. 0 where one of
    the two is even.
    """
    from scipy.stats import rankdata

    one, other = (rankdata(part, axis=1) for part in (maps, others))
    one, other = (part - part.mean(1, keepdims=True) for part in (one, other))
    size = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    return (one * other).sum(1) / np.where(size > 0, size, 1.0)
