"""Boxes of objects, taken along when an image becomes a square."""

import numpy as np

from steps.data.readers.pictures import Fit

SEEN = 0.5
"""Least share of a box that has to be left in the square."""


def fitted(box: list[float], before: tuple[int, int], fit: Fit) -> list[float] | None:
    """A box as shares of the square's sides, None where less than SEEN of it is left.

    box: left, top, right, bottom in pixels of the image, or as shares of its sides where none is
    above 1. before: width and height of the image, upright.
    """
    sides = np.array([*before, *before], float)
    pixels = np.array(box) * (sides if max(box) <= 1 else 1)
    if fit == "squash":
        found = pixels / sides
    else:
        side = min(before)
        found = (pixels - np.tile([(n - side) / 2 for n in before], 2)) / side
    inside = found.clip(0, 1)
    left = np.prod((inside[2:] - inside[:2]).clip(0)) / np.prod(found[2:] - found[:2])
    return [float(n) for n in inside] if left >= SEEN else None


def around(mask: np.ndarray) -> list[list[int]]:
    """The box around what a mask uint8 [H, W] shows, in pixels, the last two exclusive; or none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    return [[int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]]
