"""Maps of image tokens as a picture: what is bright in one tile is as bright in any other.

No map is stretched to its own range and no border is edited, so that a map that says little looks
as if it did.
"""

from pathlib import Path
from typing import Any

import numpy as np

SHOWN, ZOOM, HEAD, GAP = 6, 2, 68, 2
YELLOW = (255, 214, 10)


def gallery(
    pictures: np.ndarray, masks: np.ndarray, maps: dict[Any, np.ndarray], side: int, path: Path
) -> Path:
    """A row for each of some images: the image, its mask's outline, and its maps.

    pictures uint8 [N, H, W, 3], masks bool [N, H, W]; maps [N, side * side] by (loss, place,
    method). All tiles of a method have one scale, whose end stands above them. Returns `path`.
    """
    from PIL import Image, ImageDraw

    some = np.unique(np.linspace(0, len(pictures) - 1, SHOWN).round().astype(int))
    columns = [("image", pictures[some]), ("object", outlined(pictures[some], masks[some]))]
    at = np.arange(pictures.shape[1]) * side // pictures.shape[1]  # the patch of each pixel
    for method in dict.fromkeys(method for _, _, method in maps):
        own = {key: values[some] for key, values in maps.items() if key[2] == method}
        top = ceiling(list(own.values()))
        for key, values in own.items():
            tiles = coloured(values, top).reshape(-1, side, side, 3)
            columns.append(("\n".join((*key, f"0 to {top:.2g}")), tiles[:, at][:, :, at]))
    edge = [(0, 0), (GAP, GAP), (GAP, GAP), (0, 0)]
    frame = [np.pad(tiles, edge, constant_values=255) for _, tiles in columns]
    sheet = np.concatenate(np.concatenate(frame, 2), 0).repeat(ZOOM, 0).repeat(ZOOM, 1)
    head = np.full((HEAD, sheet.shape[1], 3), 255, np.uint8)
    picture = Image.fromarray(np.concatenate([head, sheet]))
    draw, wide = ImageDraw.Draw(picture), sheet.shape[1] // len(columns)
    for place, (words, _) in enumerate(columns):
        draw.multiline_text((place * wide + 2 * GAP, GAP), words, "black")
    picture.save(path)
    return path


def ceiling(maps: list[np.ndarray]) -> float:
    """The value of the brightest colour for maps [N, P] that share a scale.

    One patch of a hundred is above and drawn as if it had this value: else a single patch would
    leave all other maps dark.
    """
    return float(np.quantile(np.stack(maps), 0.99))


def coloured(maps: np.ndarray, top: float) -> np.ndarray:
    """Maps [N, P] in colours uint8 [N, P, 3]: from dark at 0 to bright at `top`."""
    from matplotlib import colormaps

    return colormaps["inferno"](np.clip(maps / (top or 1.0), 0, 1), bytes=True)[..., :3]


def outlined(pictures: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Images uint8 [N, H, W, 3] with the pixels just outside their masks bool [N, H, W] drawn."""
    wide = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    near = wide[:, :-2, 1:-1] | wide[:, 2:, 1:-1] | wide[:, 1:-1, :-2] | wide[:, 1:-1, 2:]
    drawn = pictures.copy()
    drawn[near & ~masks] = YELLOW
    return drawn
