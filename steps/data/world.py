"""The embedded world: small scenes whose every truth is known.

A scene is a few objects (shape, colour, size, texture, place) and perhaps a letter, on a noisy
ground. `sample` draws many scenes at once as arrays; `paint.render` paints them with their masks.
With `world.sprites: photos` an object is a cut-out photograph: its category stands in the place of
the shape, and it has neither colour nor texture. Photographs of the split `test` are in test scenes
alone.

Splits are disjoint by construction: a number read off a scene's places, the same for its mirrored
twin and for any order of its objects, decides the split, and `sample` nudges a scene until it
falls in the split that was asked for.
"""

from dataclasses import dataclass, replace

import numpy as np

from steps.data.photos import Photos, stamps
from steps.data.sprites import COLORS, GROUNDS, LETTERS, PLATE, SHAPES, TEXTURES

SIZES = ("small", "large")
SPLITS = {"train": range(7), "tune": (7,), "probe": (8,), "test": (9,)}
"""Residues of `code` modulo ten that belong to each split."""
HOLD_OUT = 12
"""About one in so many shape x colour x texture combinations never enters training."""
_TRIES = 12


@dataclass(frozen=True)
class Scenes:
    """N scenes of at most K objects; absent objects have shape -1.

    shape, color, size, texture: int8 [N, K], indices into the world's names. In scenes of
    photographs shape indexes the bank's classes, color and texture are -1.
    photo: int32 [N, K], the photograph's index in the bank, -1 for drawn objects.
    x, y: int16 [N, K], centres in pixels; d: int16 [N, K], diameters in pixels.
    ground: int8 [N]. letter: int8 [N], -1 for none; lx, ly: int16 [N], its plate's top left.
    noise: uint64 [N], the seed of each scene's background. bank: the `photos.Photos` that its
    photographs are in, None for drawn objects.
    """

    canvas: int
    shape: np.ndarray
    color: np.ndarray
    size: np.ndarray
    texture: np.ndarray
    photo: np.ndarray
    x: np.ndarray
    y: np.ndarray
    d: np.ndarray
    ground: np.ndarray
    letter: np.ndarray
    lx: np.ndarray
    ly: np.ndarray
    noise: np.ndarray
    bank: Photos | None = None

    def __len__(self) -> int:
        return len(self.ground)

    def take(self, rows: np.ndarray) -> "Scenes":
        """The scenes in `rows` (indices or a boolean mask), in that order."""
        return replace(self, **{k: v[rows] for k, v in self.arrays().items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """What there is of every scene, by name."""
        return {k: v for k, v in vars(self).items() if isinstance(v, np.ndarray)}


def held_out(shape: np.ndarray, color: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """Whether a shape x colour x texture combination is kept out of every training stage.

    Texture 0 (solid) never is, so that every shape and colour can be shown together; nor is what
    has no texture (-1).
    """
    return ((5 * shape.astype(int) + 3 * color + 4 * texture) % HOLD_OUT == 0) & (texture > 0)


def code(s: Scenes) -> np.ndarray:
    """The number in 0..9 that decides a scene's split; int [N].

    Independent of the order of the objects and equal for the mirrored twin, since only the
    distance from the vertical middle line enters.
    """
    places = 3 * s.y.astype(int) + abs(2 * s.x.astype(int) - (s.canvas - 1))
    return np.where(s.shape >= 0, places, 0).sum(1) % 10


def sample(
    world,
    rng: np.random.Generator,
    n: int,
    split: str,
    novel: bool = False,
    main: bool = False,
    bank: Photos | None = None,
) -> Scenes:
    """Draw n scenes of a split.

    world: the `world` section of params.yaml. novel: allow held-out combinations (never for a
    training set; photographs have none). main: the first object is large and all others are
    small. bank: the photographs that `world.sprites: photos` draws from, Debian's stamps if not
    given; the split `test` shows those of its split `test`, all others those of its split
    `train`. Raises ValueError for an unknown split, and as `photos.bank` does.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(SPLITS)}")
    photographs = world.sprites == "photos"
    bank = (bank or stamps()) if photographs else None
    low, most = world.objects
    count = rng.integers(low, most + 1, n)
    there = np.arange(most)[None] < count[:, None]
    if photographs:
        shape, color, texture, photo = _photographs(world, rng, n, most, split, bank)
    else:
        shape, color, texture, photo = _looks(world, rng, n, most, novel)
    size = rng.integers(0, 2, (n, most))
    if main:
        size[:] = np.arange(most) == 0
    (s0, s1), (l0, l1) = world.small, world.large
    d = np.where(size == 0, rng.integers(s0, s1 + 1, (n, most)), 0)
    d = np.where(size == 1, rng.integers(l0, l1 + 1, (n, most)), d)
    has_letter = rng.random(n) < world.letter_share
    letter = np.where(has_letter, rng.integers(0, len(LETTERS), n), -1)
    ly = rng.integers(1, world.canvas - PLATE[0], n)
    lx = rng.integers(1, world.canvas - PLATE[1], n)
    x, y = _places(world, rng, d, there, has_letter, lx, ly)
    blank = ~there
    for a in (shape, color, size, texture, photo):
        a[blank] = -1
    scenes = Scenes(
        world.canvas,
        *(a.astype(np.int8) for a in (shape, color, size, texture)),
        photo.astype(np.int32),
        *(np.where(there, a, 0).astype(np.int16) for a in (x, y, d)),
        ground=rng.integers(0, len(GROUNDS), n).astype(np.int8),
        letter=letter.astype(np.int8),
        lx=lx.astype(np.int16),
        ly=ly.astype(np.int16),
        noise=rng.integers(0, 2**63, n, dtype=np.uint64),
        bank=bank,
    )
    return _into_split(scenes, split, rng)


def _looks(world, rng, n, most, novel):
    """Shape, colour, texture and no photograph [n, most]."""
    shape = rng.integers(0, len(SHAPES), (n, most))
    color = rng.integers(0, len(COLORS), (n, most))
    for attribute in (shape, color):
        _repeat(world, rng, attribute)
    texture = rng.integers(0, len(TEXTURES), (n, most))
    if not novel:
        # Moving the texture on by one always leaves the held-out set: 4 is not 0 modulo 12, and
        # the last texture moves to the first, which is never held out.
        texture = np.where(held_out(shape, color, texture), (texture + 1) % len(TEXTURES), texture)
    return shape, color, texture, np.full((n, most), -1)


def _photographs(world, rng, n, most, split, bank):
    """Categories, no colour, no texture, and photographs of these categories [n, most]."""
    kind = rng.integers(0, len(bank.classes), (n, most))
    _repeat(world, rng, kind)
    color, texture = np.full((2, n, most), -1)
    return kind, color, texture, bank.pick(rng, kind, "test" if split == "test" else "train")


def _repeat(world, rng, attribute) -> None:
    """Give some objects the first one's attribute [n, most], in place: counts exceed one so."""
    again = rng.random(attribute.shape) < world.repeat
    again[:, 0] = False
    attribute[again] = np.repeat(attribute[:, :1], attribute.shape[1], 1)[again]


def _places(world, rng, d, there, has_letter, lx, ly):
    """Centres [n, most]: for each object the roomiest of a few random places, one by one."""
    n, most = d.shape
    x, y = np.zeros((2, n, most), int)
    rows = np.arange(n)
    for k in range(most):
        half = (d[:, k] + 1) // 2 + 1
        margin = half[:, None] + (5 if k == 0 else 0)  # room for the nudge of `_into_split`
        span = world.canvas - half[:, None] - margin
        ty = (margin + rng.random((n, _TRIES)) * span).astype(int)
        tx = (half[:, None] + rng.random((n, _TRIES)) * (world.canvas - 2 * half[:, None])).astype(
            int
        )
        room = np.full((n, _TRIES), np.inf)
        for j in range(k):
            gap = np.maximum(abs(tx - x[:, j : j + 1]), abs(ty - y[:, j : j + 1]))
            gap = gap - (d[:, k : k + 1] + d[:, j : j + 1]) / 2
            room = np.where(there[:, j : j + 1], np.minimum(room, gap), room)
        dx = abs(tx - lx[:, None] - PLATE[1] / 2) - (PLATE[1] + d[:, k : k + 1]) / 2
        dy = abs(ty - ly[:, None] - PLATE[0] / 2) - (PLATE[0] + d[:, k : k + 1]) / 2
        room = np.where(has_letter[:, None], np.minimum(room, np.maximum(dx, dy)), room)
        best = np.minimum(room, world.gap).argmax(1)  # the first place that is roomy enough
        x[:, k], y[:, k] = tx[rows, best], ty[rows, best]
    return x, y


def _into_split(s: Scenes, split: str, rng) -> Scenes:
    """Move the first object of each scene down or up by at most five pixels into the split."""
    wanted = rng.choice(np.array(SPLITS[split]), len(s))
    step = (7 * (wanted - code(s))) % 10  # 3 * 7 = 1 modulo 10, so 3 * step closes the distance
    step = np.where(step > 5, step - 10, step)
    y = s.y.copy()
    room_below = s.canvas - 1 - (s.d[:, 0] + 1) // 2 - y[:, 0]
    step = np.where(step > room_below, step - 10, step)
    y[:, 0] += step.astype(np.int16)
    return replace(s, y=y)


def join(parts: list[Scenes]) -> Scenes:
    """Several sets of scenes as one, in order."""
    names = parts[0].arrays()
    return replace(parts[0], **{k: np.concatenate([getattr(p, k) for p in parts]) for k in names})


def mirror(s: Scenes) -> Scenes:
    """The mirrored twins: left and right swapped, all else equal.

    A photograph is moved, not flipped; `paint.render(..., mirrored=True)` flips it too.
    """
    x = np.where(s.shape >= 0, s.canvas - 1 - s.x, 0).astype(np.int16)
    lx = (s.canvas - s.lx - PLATE[1]).astype(np.int16)
    return replace(s, x=x, lx=lx)
