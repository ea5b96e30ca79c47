"""Cut-out photographs for the out-of-domain probes: Debian's Tux Paint stamps, or your own.

Stamps are PNG files whose alpha channel is a true mask, in folders that say what they show; which
of them are photographs is told in `steps.data.stamps`. No image is part of this repository.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from steps.data.album import FEWEST, STAMPS
from steps.data.stamps import PACKAGE, listed, words
from steps.data.stamps import split as split_of
from steps.stage import Missing, StageError

MOST = 127
"""Most categories: scenes number them in int8, as shapes."""
CORRUPT = 0.05
"""Share of unreadable files above which the folder itself is held to be broken."""
LARGEST = 128
"""Longest side in pixels at which photographs are held in memory."""


@dataclass(eq=False)
class Photos:
    """P cut-out photographs.

    paths (inside the folder), names, categories and splits (`train` | `test`): one a photograph.
    nouns: one a photograph, empty where there is none, as for all in a folder of your own.
    classes: the categories, sorted; what stands for a shape in scenes is an index in it.
    left_out: how many files were left out, by reason. corrupt: the paths that could not be read.
    """

    paths: list[str]
    names: list[str]
    nouns: list[str]
    categories: list[str]
    splits: list[str]
    left_out: dict[str, int]
    corrupt: list[str]
    cutouts: list[Image.Image] = field(repr=False)
    _sizes: dict[int, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The categories, sorted."""
        return tuple(sorted(set(self.categories)))

    @cached_property
    def _members(self) -> dict[tuple[str, str], list[int]]:
        """The photographs of each category and split."""
        found: dict[tuple[str, str], list[int]] = {}
        for i, pair in enumerate(zip(self.categories, self.splits, strict=True)):
            found.setdefault(pair, []).append(i)
        return found

    def sprites(self, size: int) -> np.ndarray:
        """The photographs scaled to a longest side of `size` pixels and centred.

        Returns rgba uint8 [P, size, size, 4], not premultiplied; computed once for each size.
        """
        if size not in self._sizes:
            sprites = np.zeros((len(self), size, size, 4), np.uint8)
            for sprite, cutout in zip(sprites, self.cutouts, strict=True):
                small = np.asarray(_scaled(cutout, size))
                y, x = ((size - s) // 2 for s in small.shape[:2])
                sprite[y : y + small.shape[0], x : x + small.shape[1]] = small
            self._sizes[size] = sprites
        return self._sizes[size]

    def pick(self, rng: np.random.Generator, kinds: np.ndarray, split: str) -> np.ndarray:
        """A random photograph of a split for each of `kinds`, indices in `classes`.

        Returns indices of photographs in the shape of `kinds`.
        """
        found = np.empty(kinds.shape, int)
        for number, kind in enumerate(self.classes):
            here = kinds == number
            found[here] = rng.choice(self._members[kind, split], here.sum())
        return found


@cache
def stamps() -> Photos:
    """The stamps, read once: what scenes of a world of photographs show.

    Raises as `bank` does, and StageError where a photograph is missing that a base has learnt from,
    or is to be judged on.
    """
    found, kinds = bank(), words()[0]
    wanted = {r["path"] for r in listed() if r["verdict"] == "keep" and r["category"] in kinds}
    if missing := sorted(wanted - set(found.paths)):
        raise StageError(
            f"{STAMPS} lacks {len(missing)} of {len(wanted)} photographs (the first is "
            f"{missing[0]}): install {PACKAGE} 2022.06.04 again"
        )
    return found


def bank(folder: str | Path | None = None) -> Photos:
    """The cut-out photographs in a folder; without one, those of Debian's stamps.

    In a folder of your own every PNG with an alpha channel is taken (a folder called `cartoon`
    is not): the first folder is its category, its name is the first line of a .txt file beside
    it or else its file name. In the stamps' folder, files that `stamps.csv` does not list are
    left out. Raises Missing without the folder, StageError if more than 5 % of the
    files are unreadable or if fewer than two categories, or more than 127, have ten photographs.
    """
    root = Path(folder) if folder else STAMPS
    if not root.is_dir():
        raise Missing(
            f"no folder {root} with cut-out photographs: install Debian's {PACKAGE}, or let "
            "probes.photos in params.yaml name a folder of PNG files"
        )
    found = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    told = {row["path"]: row for row in listed()}
    if not told.keys() & set(found):
        told = {path: _describe(root, path) for path in found}
    rows = [told.get(path, {"path": path, "verdict": "unlisted"}) for path in found]
    left_out = Counter(row["verdict"] for row in rows if row["verdict"] != "keep")
    rows = [row for row in rows if row["verdict"] == "keep"]

    cutouts = {row["path"]: _read(root / row["path"]) for row in rows}
    corrupt = [path for path, cutout in cutouts.items() if cutout is None]
    if len(corrupt) > CORRUPT * len(rows):
        raise StageError(
            f"{len(corrupt)} of {len(rows)} PNG files in {root} cannot be read as cut-outs "
            f"(the first is {corrupt[0]}): install {PACKAGE} again, or mend the folder that "
            "probes.photos names"
        )
    # Of all that are listed, so that no file that is corrupt or absent moves another one.
    split = split_of(row for row in told.values() if row["verdict"] == "keep")
    rows = [row for row in rows if row["path"] not in corrupt]
    of = Counter(row["category"] for row in rows)
    small = [row for row in rows if of[row["category"]] < FEWEST]
    rows = [row for row in rows if of[row["category"]] >= FEWEST]
    if len({row["category"] for row in rows}) < 2:
        raise StageError(
            f"{root} has fewer than two folders of at least {FEWEST} cut-out photographs: "
            f"install Debian's {PACKAGE}, or let probes.photos name a folder that has"
        )
    if len({row["category"] for row in rows}) > MOST:
        raise StageError(
            f"{root} has more than {MOST} folders of cut-out photographs, and scenes number no "
            "more kinds: put some together, or let probes.photos name another folder"
        )
    left_out.update({"corrupt": len(corrupt), "small category": len(small)})
    columns = ([r[k] for r in rows] for k in ("path", "name", "noun", "category"))
    paths, names, nouns, categories = columns
    splits = [split[path] for path in paths]
    kept = [cutouts[path] for path in paths]
    return Photos(paths, names, nouns, categories, splits, dict(left_out), corrupt, kept)


def _describe(root: Path, path: str) -> dict[str, str]:
    """A row like those of `stamps.csv` for a photograph that is not listed there."""
    text = (root / path).with_suffix(".txt")
    lines = text.read_text(encoding="utf-8", errors="replace").split("\n") if text.is_file() else []
    name = lines[0].strip().rstrip(".!") if lines else ""
    folders = Path(path).parts[:-1]
    return {
        "path": path,
        "name": name or Path(path).stem.replace("_", " ").replace("-", " "),
        "noun": "",
        "category": folders[0] if folders else "",
        "verdict": "drawing" if "cartoon" in folders else "keep",
    }


def _read(path: Path) -> Image.Image | None:
    """A photograph cropped to what its alpha channel shows; None if that cannot be read."""
    try:
        with Image.open(path) as file:
            if not file.has_transparency_data:
                return None
            image = file.convert("RGBA")
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError):
        return None  # Pillow raises any of these on a damaged PNG
    box = image.getchannel("A").point(lambda a: 255 * (a >= 128)).getbbox()
    if box is None:
        return None
    image = image.crop(box)
    return _scaled(image, LARGEST) if max(image.size) > LARGEST else image


def _scaled(image: Image.Image, side: int) -> Image.Image:
    """The image with its longer side at `side` pixels, its proportions kept.

    Premultiplied while it is resampled, so that colours hidden below alpha 0 do not bleed in.
    """
    size = [max(1, round(s * side / max(image.size))) for s in image.size]
    return image.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
