"""What the drawn world is drawn with: shape masks, texture patterns and letters, as arrays.

Every mask is symmetric under a left-right flip (letters too), so the mirrored twin of a scene is
exactly its flipped image and no attribute but place changes.
"""

from functools import cache

import numpy as np

SHAPES = ("circle", "square", "triangle", "cross", "star", "ring")
TEXTURES = ("solid", "stripes", "dots", "checks")
COLORS = {
    "red": (215, 45, 45),
    "green": (50, 170, 65),
    "blue": (55, 85, 215),
    "yellow": (225, 205, 50),
    "purple": (150, 60, 185),
    "orange": (235, 135, 35),
}
GROUNDS = {
    "dark": (45, 45, 45),
    "pale": (200, 200, 200),
    "warm": (150, 115, 85),
    "cold": (85, 115, 150),
}

# 5 x 7 letters, a string of bits a row; all mirror-symmetric, and none is a word (so no A).
_FONT = {
    "H": ("10001", "10001", "10001", "11111", "10001", "10001", "10001"),
    "M": ("10001", "11011", "10101", "10101", "10001", "10001", "10001"),
    "O": ("01110", "10001", "10001", "10001", "10001", "10001", "01110"),
    "T": ("11111", "00100", "00100", "00100", "00100", "00100", "00100"),
    "U": ("10001", "10001", "10001", "10001", "10001", "10001", "01110"),
    "V": ("10001", "10001", "10001", "10001", "01010", "01010", "00100"),
    "X": ("10001", "10001", "01010", "00100", "01010", "10001", "10001"),
    "Y": ("10001", "10001", "01010", "00100", "00100", "00100", "00100"),
}
LETTERS = tuple(_FONT)
PLATE = (18, 14)
"""Height and width in pixels of the plate that a letter is drawn on."""


def _inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether the points (u to the right, v down, both in [-1, 1]) lie in the shape."""
    r = np.hypot(u, v)
    if shape == "circle":
        return r <= 1
    if shape == "ring":
        return (r <= 1) & (r >= 0.52)
    if shape == "square":
        return np.maximum(abs(u), abs(v)) <= 0.86
    if shape == "triangle":
        return (v <= 0.82) & (abs(u) <= (v + 0.95) * 0.56)
    if shape == "cross":
        return np.minimum(abs(u), abs(v)) <= 0.32
    angle = np.arctan2(u, -v)  # a star of five points, one pointing up
    spike = np.abs((angle / (2 * np.pi / 5) + 0.5) % 1 - 0.5) * 2
    return r <= 1.08 - 0.68 * spike


@cache
def masks(largest: int) -> np.ndarray:
    """Anti-aliased masks, float32 [shape, diameter, largest, largest], centred, in 0..1.

    Row `d` of the second axis is the mask of diameter `d` pixels (rows below 4 are empty).
    """
    fine = 4
    axis = (np.arange(largest * fine) + 0.5) / fine - largest / 2
    bank = np.zeros((len(SHAPES), largest + 1, largest, largest), np.float32)
    for i, shape in enumerate(SHAPES):
        for d in range(4, largest + 1):
            u = axis / (d / 2)
            hit = _inside(shape, np.where(u == 0, 1e-9, u)[None, :], u[:, None])
            box = (abs(u)[:, None] <= 1.0) & (abs(u)[None, :] <= 1.0)
            hit = (hit & box).reshape(largest, fine, largest, fine).mean((1, 3))
            bank[i, d] = (hit + hit[:, ::-1]) / 2
    return bank


@cache
def textures(largest: int) -> np.ndarray:
    """Brightness patterns, float32 [texture, largest, largest]: 1 is the colour itself."""
    i = np.arange(largest) - largest // 2
    y, x = i[:, None], abs(i)[None, :]  # mirrored about the centre line
    dark = np.zeros((len(TEXTURES), largest, largest), bool)
    dark[1] = y % 6 < 3
    dark[2] = (y % 5 < 2) & (x % 5 < 2)
    dark[3] = (y // 3 + (x + 1) // 3) % 2 == 0
    return np.where(dark, 0.6, 1.0).astype(np.float32)


@cache
def letters() -> np.ndarray:
    """Letters, twice their size, on a plate: float32 [letter, *PLATE], 1 is ink."""
    bank = np.zeros((len(LETTERS), *PLATE), np.float32)
    for i, rows in enumerate(_FONT.values()):
        bits = np.array([[int(b) for b in row] for row in rows], np.float32)
        bank[i, 2:-2, 2:-2] = bits.repeat(2, 0).repeat(2, 1)
    return bank
