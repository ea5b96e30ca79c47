"""Scenes as pixels: images, and the object that every pixel belongs to."""

from collections.abc import Iterable

import numpy as np

from steps.data.sprites import COLORS, GROUNDS, PLATE, letters, masks, textures
from steps.data.world import Scenes

LETTER = -2
"""The owner of the pixels of a letter's plate."""


def background(world, ground: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blotchy grounds in 0..255 and the camera's noise, both float32 [N, canvas, canvas, 3].

    The noise is for adding last, on top of whatever is painted on the ground. Every scene has a
    noise seed of its own, so an image depends on its scene alone.
    """
    n, c = len(ground), world.canvas
    base = np.array(list(GROUNDS.values()), np.float32)[ground][:, None, None]
    noise = np.empty((n, c, c, 3), np.float32)
    coarse = np.empty((n, 8, 8, 1), np.float32)
    for i, seed in enumerate(seeds):
        own = np.random.Generator(np.random.SFC64(int(seed)))
        own.standard_normal(out=noise[i], dtype=np.float32)
        coarse[i] = own.standard_normal((8, 8, 1), dtype=np.float32)
    noise *= world.noise
    blotched = base + coarse * np.float32(world.blotch)
    return blotched.repeat(c // 8, 1).repeat(c // 8, 2), noise


def render(world, s: Scenes, mirrored: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Paint scenes.

    Drawn objects are painted first to last. Photographs are painted last to first, so that no
    other covers the first, whose category probes ask for.
    Returns images uint8 [N, canvas, canvas, 3] and owners int8 [N, canvas, canvas]: the index of
    the object that a pixel belongs to, -1 for ground, LETTER for a letter. `mirrored`
    paints the mirrored twins of `s` (pass the originals).
    """
    image, noise = background(world, s.ground, s.noise)
    owner = np.full(image.shape[:3], -1, np.int8)
    big = world.large[1] | 1  # odd, so that a sprite's middle is a pixel
    for k in range(s.shape.shape[1])[:: -1 if s.bank else 1]:
        rows = np.flatnonzero(s.shape[:, k] >= 0)
        alpha, shade = _cut_out(s, rows, k, big) if s.bank else _drawn(s, rows, k, big)
        place, hit = _laid(s, rows, k, alpha)
        a = alpha[hit]
        flat, under = image.reshape(-1, 3), image.reshape(-1, 3)[place]
        flat[place] = under + (a * np.float32(world.contrast))[:, None] * (shade[hit] - under)
        owner.reshape(-1)[place[a >= 0.5]] = k
    _letters(world, s, image, owner)
    image += noise
    image = np.clip(image, 0, 255, out=image).astype(np.uint8)
    return (image[:, :, ::-1], owner[:, :, ::-1]) if mirrored else (image, owner)


def owners(world, s: Scenes) -> np.ndarray:
    """The owners int8 [N, canvas, canvas] that `render` gives, unpainted where that is quicker."""
    if s.bank:
        return render(world, s)[1]
    owner = np.full((len(s), s.canvas, s.canvas), -1, np.int8)
    big = world.large[1] | 1
    for k in range(s.shape.shape[1]):
        rows = np.flatnonzero(s.shape[:, k] >= 0)
        alpha = masks(big)[s.shape[rows, k], s.d[rows, k]]
        place, hit = _laid(s, rows, k, alpha)
        owner.reshape(-1)[place[alpha[hit] >= 0.5]] = k
    owner[_plates(s, np.flatnonzero(s.letter >= 0))] = LETTER
    return owner


def boxes(owner: np.ndarray, objects: Iterable[int]) -> list[list[int]]:
    """What is to be seen of some objects: left, top, right, bottom in pixels, the last two beyond.

    owner: one scene's owners [H, W]. objects: owners to look for. One that is wholly hidden has
    no box.
    """
    found = []
    for k in objects:
        y, x = np.nonzero(owner == k)
        if len(y):
            found.append([int(v) for v in (x.min(), y.min(), x.max() + 1, y.max() + 1)])
    return found


def classes(owner: np.ndarray, attribute: np.ndarray) -> np.ndarray:
    """1 + the attribute [N, K] of the object that owns a pixel, 0 for none: uint8 [N, H, W]."""
    scene = np.arange(len(owner))[:, None, None]
    return np.where(owner >= 0, attribute[scene, owner.clip(0)] + 1, 0).astype(np.uint8)


def _drawn(s: Scenes, rows: np.ndarray, k: int, big: int) -> tuple[np.ndarray, np.ndarray]:
    """Opacity [R, big, big] and colours [R, big, big, 3] of the drawn objects k of some scenes."""
    palette = np.array(list(COLORS.values()), np.float32)[s.color[rows, k]]
    alpha = masks(big)[s.shape[rows, k], s.d[rows, k]]
    return alpha, textures(big)[s.texture[rows, k]][..., None] * palette[:, None, None]


def _laid(s: Scenes, rows: np.ndarray, k: int, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the objects k of some scenes cover the canvas, by their opacity [R, big, big].

    Returns the flat places [M] in [N, canvas, canvas], and which pixels of `alpha` they are.
    """
    big = alpha.shape[-1]
    grid = np.arange(big) - big // 2
    yy = s.y[rows, k, None] + grid
    xx = s.x[rows, k, None] + grid
    inside = ((yy >= 0) & (yy < s.canvas))[:, :, None] & ((xx >= 0) & (xx < s.canvas))[:, None]
    hit = (alpha > 0) & inside
    at = (rows[:, None, None], yy.clip(0, s.canvas - 1)[:, :, None])
    at = (*at, xx.clip(0, s.canvas - 1)[:, None])
    shape = (len(s), s.canvas, s.canvas)
    return np.ravel_multi_index(tuple(np.broadcast_arrays(*at)), shape)[hit], hit


def _cut_out(s: Scenes, rows: np.ndarray, k: int, big: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of photographs."""
    sprite = np.zeros((len(rows), big, big, 4), np.float32)
    photo, sizes = s.photo[rows, k], s.d[rows, k]
    for d in np.unique(sizes):
        at = slice(big // 2 - d // 2, big // 2 - d // 2 + d)
        sprite[sizes == d, at, at] = s.bank.sprites(int(d))[photo[sizes == d]]
    return sprite[..., 3] / 255, sprite[..., :3]


def _letters(world, s: Scenes, image: np.ndarray, owner: np.ndarray) -> None:
    """Paint the letters onto the images, in place."""
    rows = np.flatnonzero(s.letter >= 0)
    ink = letters()[s.letter[rows]][..., None] * np.float32(world.ink)
    at = _plates(s, rows)
    image[at] += (245 - 235 * ink - image[at]) * 0.85
    owner[at] = LETTER


def _plates(s: Scenes, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels of the letters' plates of some scenes, as an index into [N, canvas, canvas]."""
    return (
        rows[:, None, None],
        (s.ly[rows, None] + np.arange(PLATE[0]))[:, :, None],
        (s.lx[rows, None] + np.arange(PLATE[1]))[:, None],
    )
