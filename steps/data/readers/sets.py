"""From a section of `probes.images` to a set in the folder `probes`."""

from pathlib import Path
from typing import Any

from steps.data.readers import classes, masks, parquet
from steps.data.readers.draw import draw
from steps.data.readers.listing import Listing
from steps.data.readers.write import write

SEED = 0
"""Of the draw: all seeds of a study are shown the same images, since these are not ours to draw."""
MAPS = ("ade20k", "voc", "masks")
"""Layouts with a map of classes for each image."""


def stored(one: Any) -> str:
    """The name under which a set is stored: one with maps says so, for `features` to keep places.

    one: of params.probes.images, as `add` takes it.
    """
    return f"{one.name}_segment" if one.layout in MAPS else one.name


def add(one: Any, out: Path) -> dict[str, float]:
    """Read a folder of public data, draw from it, and add what was drawn to the probes in `out`.

    one: name, layout, path, size, fit, train and test (images of a class, or with maps of a
    split), test_share (where the layout has no splits), broken_share. Returns the numbers of images
    used, broken and tried. Raises StageError as the readers do.
    """
    each = {"train": one.train, "test": one.test}
    listing = listed(one)
    drawn = draw(listing, each, one.size, one.fit, one.broken_share, SEED)
    return write(listing, drawn, out, stored(one), one.name)


def listed(one: Any) -> Listing:
    """What is in the folder of a section of params.probes.images."""
    root = Path(one.path)
    if one.layout == "imagefolder":
        return classes.imagefolder(root, test_share=one.test_share, seed=SEED)
    if one.layout == "masks":
        return masks.folder(root, test_share=one.test_share, seed=SEED)
    return {"parquet": parquet.parquet, "ade20k": masks.ade20k, "voc": masks.voc}[one.layout](root)
