"""What a folder of public data holds, before any image is opened: names, labels, splits."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from steps.data.readers.pictures import Broken, Fit
from steps.stage import Missing


class Item(NamedTuple):
    """An image that is listed and not yet opened.

    name: path inside the data's folder, and its id. label: its class (`""` where maps tell).
    path: the file that holds it. mask: that of its map. group, row: where in a Parquet file.
    """

    name: str
    label: str
    path: Path
    mask: Path | None = None
    group: int = 0
    row: int = 0


Opened = tuple[np.ndarray, ...]
"""An image uint8 [size, size, 3]; where there are maps, its map uint8 [size, size] as well."""
Opener = Callable[[list[Item], int, Fit], Iterator[tuple[Item, Opened | Broken]]]


@dataclass(frozen=True)
class Listing:
    """What a folder of public data holds.

    items: by split, `train` and `test`. open: (items, size, fit) -> each item with its arrays or
    what is wrong with it, in any order. classes: names of the labels, or of the maps' classes from
    1 on; empty where only the maps can tell. absent: files that the layout speaks of and that are
    not there; listed, and no part of the share.
    """

    root: Path
    kind: Literal["classify", "segment"]
    items: dict[str, list[Item]]
    open: Opener = field(repr=False)
    classes: tuple[str, ...] = ()
    absent: tuple[Broken, ...] = ()


def order(items: Iterable[Item], seed: int, use: str) -> list[Item]:
    """Items in a seeded order of their names; `use` tells orders of one seed apart."""
    return sorted(items, key=lambda i: sha256(f"{use}/{seed}/{i.name}".encode()).digest())


def split(items: Iterable[Item], share: float, seed: int) -> dict[str, list[Item]]:
    """Items parted into train and test: of each class a share (at least one of two) is tested."""
    classes: dict[str, list[Item]] = {}
    for item in items:
        classes.setdefault(item.label, []).append(item)
    parts: dict[str, list[Item]] = {"train": [], "test": []}
    for members in classes.values():
        members = order(members, seed, "split")
        tested = min(max(1, round(share * len(members))), len(members) - 1)
        parts["test"] += members[:tested]
        parts["train"] += members[tested:]
    return parts


def stands(root: Path, *names: str) -> Path:
    """The first of the folders `names` in `root` that is there. Raises Missing if none is."""
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise Missing(
        f"{root} has no folder {' or '.join(names)}: give the folder in which the data were "
        "unpacked, and the layout that they have"
    )
