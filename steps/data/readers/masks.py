"""Images with a map of classes each: ADE20K, Pascal VOC, and any two folders of equal names.

In the maps that are given on, 0 is the background, 1 to N are the classes and 255 is ignored. A
mask is an image of indices: grey, or with a palette, whose colours only show. It is taken to lie
over the image as that is displayed: EXIF turns either of them, each by its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from steps.data.readers import IGNORED
from steps.data.readers.listing import Item, Listing, Opened, split, stands
from steps.data.readers.pictures import SUFFIXES, Broken, Fit, Flaw, decode, read, rgb, square
from steps.stage import Missing, StageError

MOST = 254
"""Most classes beside the background: maps are uint8, and 255 is taken."""
VOC = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
).split()
"""Pascal VOC's classes 1 to 20 (Everingham et al. 2010)."""


def ade20k(root: Path) -> Listing:
    """SceneParse150 in the folder ADEChallengeData2016 (Zhou et al. 2017).

    `images/{training,validation}/*.jpg`, `annotations/{training,validation}/*.png`: masks of
    indices, 1 to 150 the classes that objectInfo150.txt names, 0 whatever else, which its
    benchmark does not score: ignored here. Of a class's names the first is taken. Raises Missing
    without those folders or that file.
    """
    root = Path(root)
    table = root / "objectInfo150.txt"
    if not table.is_file():
        raise Missing(f"there is no file {table}: give the path of ADEChallengeData2016")
    rows = [line.split(None, 4) for line in _lines(table)[1:]]  # blanks stray among its tabs
    names = [row[-1].split(",")[0].strip() for row in rows]
    if [row[0].strip() for row in rows] != [str(k) for k in range(1, len(rows) + 1)]:
        raise StageError(
            f"{table} must number its lines from 1 on, below a heading: fetch it again"
        )
    parts = {"train": "training", "test": "validation"}
    items = {
        part: _pairs(root, stands(root / "images", name), stands(root / "annotations", name))
        for part, name in parts.items()
    }
    return _listing(root, items, Maps(tuple(names), zero=IGNORED))


def voc(root: Path) -> Listing:
    """Pascal VOC 2012's segmentation: the folder VOC2012, or VOCdevkit around it.

    `JPEGImages/*.jpg`, `SegmentationClass/*.png` with a palette (0 background, 1 to 20, 255 the
    border, ignored), `ImageSets/Segmentation/{train,val}.txt` with a stem a line. Raises Missing
    without them.
    """
    root = Path(root) / "VOC2012" if (Path(root) / "VOC2012").is_dir() else Path(root)
    images, masks = stands(root, "JPEGImages"), stands(root, "SegmentationClass")
    items = {}
    for part, name in (("train", "train"), ("test", "val")):
        told = root / "ImageSets" / "Segmentation" / f"{name}.txt"
        if not told.is_file():
            raise Missing(f"there is no file {told}: give the path of VOC2012")
        stems = [line.strip() for line in _lines(told)]
        items[part] = [
            Item(f"JPEGImages/{s}.jpg", "", images / f"{s}.jpg", masks / f"{s}.png") for s in stems
        ]
    return _listing(root, items, Maps(tuple(VOC)))


def folder(root: Path, test_share: float = 0.2, seed: int = 0) -> Listing:
    """Any images and masks of equal stems: `images/*`, `masks/*.png`.

    Where both have a folder `train` (or `training`), that and `val` (`validation`, `test`) are the
    splits; else a seeded share is tested. classes.txt names the indices from 0 on, a line each, and
    its first is `background`; without it classes go by their number. Raises Missing without the
    folders, StageError for a classes.txt of another kind.
    """
    root = Path(root)
    images, masks = stands(root, "images"), stands(root, "masks")
    names: tuple[str, ...] | None = None
    if (root / "classes.txt").is_file():
        first, *others = _lines(root / "classes.txt") or [""]
        names = tuple(name.strip() for name in others)
        if first.strip().lower() != "background" or len({*names, "background"}) <= len(names):
            raise StageError(
                f"{root / 'classes.txt'} begins with {first!r}: name each index once, a line each, "
                "the first `background` for index 0"
            )
    if any((images / name).is_dir() for name in ("train", "training")):
        items = {}
        for part, known in (("train", ("train", "training")), ("test", ("val", "validation"))):
            known = known if part == "train" else (*known, "test")
            items[part] = _pairs(root, stands(images, *known), stands(masks, *known))
    else:
        items = split(_pairs(root, images, masks), test_share, seed)
    return _listing(root, items, Maps(names))


def _lines(path: Path) -> list[str]:
    """The lines of a text file that hold something."""
    return [x for x in path.read_text("utf-8-sig", errors="replace").split("\n") if x.strip()]


def _pairs(root: Path, images: Path, masks: Path) -> list[Item]:
    """An item for each stem of either folder; what its partner lacks is met when it is opened."""
    found = {p.stem: p for p in sorted(images.iterdir()) if p.suffix.lower() in SUFFIXES}
    found |= {p.stem: images / f"{p.stem}.jpg" for p in masks.glob("*.png") if p.stem not in found}
    return [
        Item(path.relative_to(root).as_posix(), "", path, masks / f"{stem}.png")
        for stem, path in sorted(found.items())
        if stem[0] != "."
    ]


def _listing(root: Path, items: dict[str, list[Item]], maps: "Maps") -> Listing:
    """The listing of a data set. Raises StageError for a split without images, and many classes."""
    names = maps.names or ()
    if len(names) > MOST or len({*names}) < len(names):
        raise StageError(f"{root}: {len(names)} classes: name at most {MOST}, and each once")
    for part, members in items.items():
        if not members:
            raise StageError(f"{root} has no images for the split {part}: look for them there")
    return Listing(root, "segment", items, maps.open, names)


@dataclass(frozen=True)
class Maps:
    """How the masks of one data set become maps.

    names: the classes 1 to N, None where any number is right. zero: what 0 becomes. colours: of
    palettes seen, the colour of each index that was used, and the first file.
    """

    names: tuple[str, ...] | None
    zero: int = 0
    colours: dict[int, tuple[tuple[int, ...], str]] = field(default_factory=dict, repr=False)

    def open(
        self, items: Iterable[Item], size: int, fit: Fit
    ) -> Iterator[tuple[Item, Opened | Broken]]:
        """Images and maps of items. Raises StageError for masks that no reading can save."""
        for item in items:
            try:
                shown = decode(read(item.path))
                image, mask = rgb(shown), self._mask(item.mask or item.path)
                if image.size != mask.size:
                    turned = ", the image as its EXIF turns it" if shown.info.get("turned") else ""
                    raise Flaw(f"mask and image differ in size{turned}")
                map_ = square(mask, size, fit, nearest=True)
                if (map_ == IGNORED).all():
                    raise Flaw("no pixel of its mask has a class")
                yield item, (square(image, size, fit), map_)
            except Flaw as flaw:
                yield item, Broken(item.name, str(flaw))

    def _mask(self, path: Path) -> Image.Image:
        """A mask as a grey image of the classes to be given on."""
        try:
            mask = decode(read(path))
        except Flaw as flaw:
            raise Flaw(f"mask {flaw}") from flaw
        if mask.mode not in ("1", "L", "P") and mask.mode[0] != "I":
            raise StageError(
                f"{path} is a mask of mode {mask.mode}, and a colour names no class: save masks as "
                "PNG of one index a pixel (mode L or P), 0 background, from 1 classes, 255 ignored"
            )
        index = np.array(mask)
        used = np.unique(index).astype(int)
        most = MOST if self.names is None else len(self.names)
        strange = [int(k) for k in used if not 0 <= k <= most and k != IGNORED]
        if strange:
            raise StageError(
                f"{path} holds the class {strange[0]}, and there are {most} besides 0: name it, or "
                "write 255 for what is to be ignored"
            )
        if mask.mode == "P":
            self._one_palette(mask, used, path)
        index = index.astype(np.uint8)
        if self.zero:
            index[index == 0] = self.zero
        return Image.fromarray(index)

    def _one_palette(self, mask: Image.Image, used: np.ndarray, path: Path) -> None:
        """Refuse palettes made file by file, by which one index means one thing here, one there."""
        palette = mask.getpalette() or []
        for k in used.tolist():
            colour = tuple(palette[3 * k : 3 * k + 3])
            known, first = self.colours.setdefault(k, (colour, path.name))
            if colour != known:
                raise StageError(
                    f"{path}: index {k} has the colour {colour}, in {first} {known}: the masks' "
                    "palettes differ, so an index names no class; save all with one palette"
                )
