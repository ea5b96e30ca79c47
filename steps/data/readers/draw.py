"""A seeded, class-balanced draw from a listing of images, of which only those drawn are opened.

The order within a class is that of SHA-256 over seed and path: the same on every machine, and a
file more or less moves no other. A broken image is listed, and the next of its class in that order
takes its place; above a share of broken ones among those tried the draw stops.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from steps.data.readers import IGNORED
from steps.data.readers.listing import Item, Listing, Opened, order
from steps.data.readers.pictures import Broken, Fit
from steps.stage import StageError


@dataclass(frozen=True)
class Drawn:
    """N images that could be read, train first; within a split by rank in their class, then class.

    images: uint8 [N, size, size, 3]. table: item, split and, for classification, label. maps:
    uint8 [N, size, size] or None. classes: as in Listing, known now. broken: in the order tried.
    tried: images opened. short: "<split>/<class>" -> images, where there were fewer than asked
    for. untaught: classes in maps of test that no map of train holds.
    """

    images: np.ndarray
    table: pd.DataFrame
    maps: np.ndarray | None
    classes: tuple[str, ...]
    broken: list[Broken]
    tried: int
    short: dict[str, int]
    untaught: list[str]


def draw(
    listing: Listing,
    each: dict[str, int],
    size: int,
    fit: Fit = "crop",
    broken_share: float = 0.01,
    seed: int = 0,
) -> Drawn:
    """Draw `each[split]` images of every class (segmentation: of the split) at `size` pixels.

    Classes with fewer images give all they have and are told in `short`. Raises StageError if
    more than `broken_share` of those tried in a split are broken, if a class has none that can be
    read, or if all maps of train hold one class.
    """
    kept: list[tuple[str, Item, Opened]] = []
    broken: list[Broken] = []
    short, tried = {}, 0
    for part, n in each.items():
        found, flaws, looked = _take(listing, part, n, size, fit, broken_share, seed)
        for label, rows in found.items():
            what = f"class {label!r}" if label else "image"
            if not rows:
                raise StageError(
                    f"{listing.root}: no {what} of the split {part} can be read "
                    f"({_few(flaws)}): mend the files, or leave the class out of both splits"
                )
            if len(rows) < n:
                short[f"{part}/{label}".rstrip("/")] = len(rows)
        ranks = sorted((k, label) for label, rows in found.items() for k in range(len(rows)))
        kept += [(part, *found[label][k]) for k, label in ranks]
        broken, tried = broken + flaws, tried + looked
    table = pd.DataFrame({"item": [i.name for _, i, _ in kept], "split": [s for s, *_ in kept]})
    images = np.stack([arrays[0] for *_, arrays in kept])
    if listing.kind == "classify":
        table["label"] = [i.label for _, i, _ in kept]
        return Drawn(images, table, None, listing.classes, broken, tried, short, [])
    maps = np.stack([arrays[1] for *_, arrays in kept])
    classes, untaught = _taught(listing, maps, (table["split"] == "train").to_numpy())
    return Drawn(images, table, maps, classes, broken, tried, short, untaught)


def _take(
    listing: Listing, part: str, n: int, size: int, fit: Fit, broken_share: float, seed: int
) -> tuple[dict[str, list[tuple[Item, Opened]]], list[Broken], int]:
    """Up to n readable items of each class, in rounds: what a round lacks, the next one tries."""
    queues: dict[str, list[Item]] = {}
    for item in order(listing.items[part], seed, "draw"):
        queues.setdefault(item.label, []).append(item)
    found: dict[str, list[tuple[Item, Opened]]] = {label: [] for label in sorted(queues)}
    broken: list[Broken] = []
    at = dict.fromkeys(found, 0)
    while True:
        batch = []
        for label, rows in found.items():
            more = queues[label][at[label] : at[label] + n - len(rows)]
            at[label] += len(more)
            batch += more
        if not batch:
            return found, broken, sum(at.values())
        opened = dict(listing.open(batch, size, fit))
        for item in batch:  # in the draw's order, whatever the opener's
            arrays = opened[item]
            if isinstance(arrays, Broken):
                broken.append(arrays)
            else:
                found[item.label].append((item, arrays))
        tried = sum(at.values())
        if len(broken) > broken_share * tried:
            raise StageError(
                f"{listing.root}: {len(broken)} of {tried} images tried in the split {part} are "
                f"broken, more than the share {broken_share:g} allowed ({_few(broken)}): mend "
                "them, or raise broken_share"
            )


def _few(broken: list[Broken]) -> str:
    """How often each reason was met, and the first three files."""
    reasons = ", ".join(f"{n} {reason}" for reason, n in Counter(b.reason for b in broken).items())
    return f"{reasons}; first {', '.join(b.path for b in broken[:3])}" if broken else "none listed"


def _taught(
    listing: Listing, maps: np.ndarray, train: np.ndarray
) -> tuple[tuple[str, ...], list[str]]:
    """Names of the maps' classes, and which of them test holds and train does not."""
    here, there = (set(np.unique(maps[rows]).tolist()) for rows in (train, ~train))
    if len(here - {IGNORED}) < 2:
        hint = " (255 means ignored: write an object's pixels as 1)" if IGNORED in here else ""
        raise StageError(
            f"{listing.root}: all training masks hold one class, {min(here)}{hint}; a probe needs "
            "two: look for masks that lost their classes, or draw more images"
        )
    most = max((here | there) - {IGNORED})
    classes = listing.classes or tuple(str(k) for k in range(1, most + 1))
    named = ("background", *classes)
    return classes, [named[k] for k in sorted(there - here - {IGNORED})]
