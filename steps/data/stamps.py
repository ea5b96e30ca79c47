"""What Debian's Tux Paint stamps show, known without reading one: the rows of `stamps.csv`.

About half of them are drawings: the table holds a verdict on each of the 802 in
tuxpaint-stamps-default 2022.06.04, reached by looking at every one.

    keep       a photograph, which may be retouched, of one thing with an outline
    drawing    a cartoon, clip art, a letter or sign drawn by computer, a computer rendering
    duplicate  the same photograph as another, mirrored, copied or recoloured
    faint      so thin or translucent that its alpha channel is no mask (lightning, goal posts)
    doubtful   perhaps a painting or rendering
    occasion   a photograph in `seasonal`, a folder that names an occasion, not a kind of thing

Its column `noun` says in one word what a photograph shows, where several show the like: what a
world of photographs calls its objects. Names and categories are part of this repository, images
are not.
"""

import csv
from collections import Counter
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path

from steps.data.album import FEWEST

PACKAGE = "tuxpaint-stamps-default"
VERDICTS = Path(__file__).with_name("stamps.csv")
TEST = 0.3
"""Share of each category's photographs that only test scenes show."""


@cache
def listed() -> list[dict[str, str]]:
    """The rows of `stamps.csv`: path, name, noun, category, verdict."""
    with VERDICTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def words() -> tuple[tuple[str, ...], dict[str, str]]:
    """What the stamps' photographs are told apart by, whether they are installed or not.

    Returns the categories as `Photos.classes` has them, and each noun with its category: those of
    at least two photographs to learn from and one to be tested on.
    """
    rows = [row for row in listed() if row["verdict"] == "keep"]
    of = Counter(row["category"] for row in rows)
    side = split(rows)
    shown = Counter((row["noun"], side[row["path"]]) for row in rows)
    nouns = {
        row["noun"]: row["category"]
        for row in rows
        if row["noun"] and shown[row["noun"], "train"] > 1 and shown[row["noun"], "test"]
    }
    return tuple(sorted(c for c, n in of.items() if n >= FEWEST)), dict(sorted(nouns.items()))


def split(rows: Iterable[dict[str, str]]) -> dict[str, str]:
    """`train` or `test` for each path: in each category those with the lowest hashes are tested."""
    by_category: dict[str, list[str]] = {}
    for row in rows:
        by_category.setdefault(row["category"], []).append(row["path"])
    split = {}
    for paths in by_category.values():
        paths = sorted(paths, key=lambda path: sha256(path.encode()).digest())
        tested = round(TEST * len(paths))
        split.update({p: "test" if i < tested else "train" for i, p in enumerate(paths)})
    return split
