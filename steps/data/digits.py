"""Handwritten digits for the out-of-domain probes: real images that every installation has.

scikit-learn's copy of the UCI Optical Recognition of Handwritten Digits test set (Alpaydin and
Kaynak 1998): 1,797 grey images of 8 x 8 pixels, ten classes.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from steps.stage import StageError

SIDES = (40, 56)
"""Smallest and largest side in pixels of a digit on its canvas of 64, both included."""
GROUNDS = (25, 110)
"""Range of the plain ground's grey level (0..255)."""
INKS = (235.0, 20.0)
"""Grey level of the ink on a dark and on a pale ground."""
POOL = 0.4
"""Share of each class from which few-shot training sets are drawn; the rest is for testing."""

Noise = Callable[[np.random.Generator, int], np.ndarray]


def digits(
    rng: np.random.Generator, canvas: int = 64, noise: Noise | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """All 1,797 digits, enlarged and centred on a dark ground, or on noise.

    noise: draws backgrounds, `(rng, n) -> float32 [n, canvas, canvas, 3]` in 0..255, for the
    digits under the world's noise; without it each ground is one plain grey.
    Returns images uint8 [1797, canvas, canvas, 3], labels int64 [1797] and the split of each row
    (`pool` or `test`). An image is on the same side whatever the generator, so a probe trained on
    plain digits can be tested on noisy ones. Raises StageError if the canvas is too small.
    """
    smallest, largest = (round(s * canvas / 64) for s in SIDES)
    if smallest < 8:
        raise StageError(f"canvas is {canvas} pixels; the 8 x 8 digits need one of at least 13")
    from sklearn.datasets import load_digits  # half a second that readers of digits alone pay

    data = load_digits()
    n = len(data.images)
    if noise is None:
        grey = rng.uniform(*GROUNDS, n).astype(np.float32)
        image = np.broadcast_to(grey[:, None, None, None], (n, canvas, canvas, 3)).copy()
    else:
        image = np.array(noise(rng, n), np.float32)
    sides = rng.integers(smallest, largest + 1, n)
    inks = np.where(image.mean((1, 2, 3)) < 128, *INKS)
    for row, eight, side, tone in zip(image, data.images, sides, inks, strict=True):
        ink = Image.fromarray(eight.astype(np.float32) / 16).resize((side, side), Image.BICUBIC)
        at = slice((canvas - side) // 2, (canvas - side) // 2 + side)
        row[at, at] += np.asarray(ink).clip(0, 1)[..., None] * (tone - row[at, at])
    labels = data.target.astype(np.int64)
    return image.clip(0, 255).astype(np.uint8), labels, _split(labels)


def _split(labels: np.ndarray) -> list[str]:
    """`pool` or `test` for each image, the same share of each class, the same in every run."""
    own = np.random.default_rng(0)
    split = np.full(len(labels), "test", object)
    for label in np.unique(labels):
        rows = own.permutation(np.flatnonzero(labels == label))
        split[rows[: round(POOL * len(rows))]] = "pool"
    return split.tolist()
