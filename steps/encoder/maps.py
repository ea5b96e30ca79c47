"""Pictures of segmentation maps, all in one palette, so that they can be compared by eye."""

import colorsys
import json
from pathlib import Path

import numpy as np
import pandas as pd

GREY = (32, 32, 32)
SHOWN = 6


def gallery(probes: Path, maps: dict[str, np.ndarray], path: Path) -> Path:
    """A row for each of the first test images: the image, then truth and prediction of each kind.

    maps: {kind: predicted maps uint8 [M, H, W] of the M test images}. A class has the same colour
    in every picture of every model. Returns `path`.
    """
    from PIL import Image

    kinds = json.loads((probes / "probes.json").read_text())["segment"]
    rows = pd.read_parquet(probes / "segment.parquet")
    test = np.flatnonzero(rows.split == "test")[:SHOWN]
    picture = np.load(probes / "segment_images.npy", mmap_mode="r", allow_pickle=False)
    columns = [np.asarray(picture[test])]
    for kind, told in maps.items():
        if not (probes / f"segment_{kind}.npy").is_file():  # another set of images
            continue
        truth = np.load(probes / f"segment_{kind}.npy", mmap_mode="r", allow_pickle=False)
        colours = palette(len(kinds[kind]))
        columns += [colours[truth[test]], colours[told[: len(test)]]]
    frame = [np.pad(c, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255) for c in columns]
    sheet = np.concatenate(np.concatenate(frame, 2), 0)
    size = (2 * sheet.shape[1], 2 * sheet.shape[0])
    Image.fromarray(sheet).resize(size, Image.Resampling.NEAREST).save(path)
    return path


def palette(classes: int) -> np.ndarray:
    """Colours uint8 [classes + 1, 3]: dark grey for background, then hues spread evenly."""
    hues = [colorsys.hsv_to_rgb(i / classes, 0.75, 0.75 + 0.25 * (i % 2)) for i in range(classes)]
    return np.array([GREY, *(tuple(round(255 * v) for v in hue) for hue in hues)], dtype=np.uint8)
