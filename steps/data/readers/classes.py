"""Images with one label each, in folders named after their classes.

Classes go by name, never by number: two splits with different folders cannot be mistaken for each
other. Both splits must hold the same classes, and at least two.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from steps.data.readers.listing import Item, Listing, Opened, split
from steps.data.readers.pictures import SUFFIXES, Broken, Fit, Flaw, picture, read
from steps.stage import Missing, StageError

TESTED = ("val", "validation", "valid", "test")
"""What a test split may be called. ImageNet's own `test` has no labels, so `val` comes first."""


def imagefolder(
    root: Path,
    splits: dict[str, str] | None = None,
    test_share: float = 0.2,
    seed: int = 0,
) -> Listing:
    """A folder of folders, one a class: `train/<class>/*.JPEG` and `val/<class>/*.JPEG`.

    The layout of ImageNet-1k's training set and of torchvision's ImageFolder; images may lie
    deeper. splits: the folders of `train` and `test`, `{"train": "train", "test": "val"}`; without
    it they are looked for. Where there is no folder `train`, classes are the folders in `root`
    themselves, and a seeded share of each is tested. Raises StageError if the splits' classes
    differ or are fewer than two, Missing for a folder that is not there.
    """
    root = Path(root)
    if not root.is_dir():
        raise Missing(f"there is no folder {root} with images: give the path of the data")
    if splits is None and (root / "train").is_dir():
        tested = next((name for name in TESTED if (root / name).is_dir()), None)
        if tested is None:
            raise Missing(f"{root} has a folder train, but none of {', '.join(TESTED)}: add one")
        splits = {"train": "train", "test": tested}
    if splits is None:
        items = split(_folders(root, root), test_share, seed)
    else:
        items = {part: _folders(root / name, root) for part, name in splits.items()}
    return Listing(root, "classify", items, _open, same(root, items))


def same(root: Path, items: dict[str, list[Item]]) -> tuple[str, ...]:
    """The classes of both splits, sorted. Raises StageError if they differ or are too few."""
    train, test = ({item.label for item in items[part]} for part in ("train", "test"))
    if train != test:
        own = {"train": sorted(train - test)[:5], "test": sorted(test - train)[:5]}
        only = [f"only in {part} {names}" for part, names in own.items() if names]
        raise StageError(
            f"{root}: the classes of the splits differ ({'; '.join(only)}): both need the same "
            "ones, each with at least one image (two where one folder is parted)"
        )
    if len(train) < 2:
        raise StageError(f"{root} has one class only, {train.pop()!r}: a probe needs two")
    return tuple(sorted(train))


def _folders(top: Path, root: Path) -> list[Item]:
    """The images below each folder in `top`, in the order of their names; hidden files are not."""
    if not top.is_dir():
        raise Missing(f"there is no folder {top}: give the folder that holds the splits")
    items = []
    for folder in sorted(p for p in top.iterdir() if p.is_dir() and p.name[0] != "."):
        for here, _, names in os.walk(folder):
            found = [n for n in names if n[0] != "." and n.lower().endswith(SUFFIXES)]
            paths = [Path(here, name) for name in found]
            items += [Item(p.relative_to(root).as_posix(), folder.name, p) for p in paths]
    if not items:
        flat = any(p.suffix.lower() in SUFFIXES for p in top.iterdir())
        raise StageError(
            f"{top} has no folders of images named after classes"
            + (", but images side by side: move each into its class's folder" if flat else "")
            + ("" if flat else ": give another path or another layout")
        )
    return sorted(items)


def _open(items: list[Item], size: int, fit: Fit) -> Iterator[tuple[Item, Opened | Broken]]:
    for item in items:
        try:
            yield item, (picture(read(item.path), size, fit),)
        except Flaw as flaw:
            yield item, Broken(item.name, str(flaw))
