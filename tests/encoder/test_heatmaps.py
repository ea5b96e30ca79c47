"""The gallery: one scale for all tiles of a method, every patch drawn as it is."""

import numpy as np
from PIL import Image

from steps.encoder import heatmaps


def test_tiles_share_a_scale_and_keep_their_borders(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (9, 8, 8, 3)).astype(np.uint8)
    masks = np.zeros((9, 8, 8), bool)
    masks[:, 2:4, 2:4] = True
    bright = np.tile(np.linspace(1, 2, 16), (9, 1))
    maps = {("a", "vit", "x"): bright, ("b", "vit", "x"): bright / 2, ("a", "vit", "y"): bright / 9}
    path = heatmaps.gallery(pictures, masks, maps, 4, tmp_path / "gallery.png")
    sheet = np.array(Image.open(path))[heatmaps.HEAD :]
    zoom, edge = heatmaps.ZOOM, heatmaps.GAP
    side = zoom * (8 + 2 * edge)
    assert sheet.shape == (heatmaps.SHOWN * side, 5 * side, 3)

    def tile(row, column):
        inner = sheet[row * side : (row + 1) * side, column * side : (column + 1) * side]
        inner = inner[edge * zoom : -edge * zoom : zoom, edge * zoom : -edge * zoom : zoom]
        return inner[::2, ::2] if column > 1 else inner  # a pixel a patch

    assert (tile(0, 0) == pictures[0]).all() and (tile(5, 0) == pictures[8]).all()
    top = heatmaps.ceiling([bright[:6], bright[:6] / 2])
    wanted = heatmaps.coloured(bright[:1], top).reshape(4, 4, 3)
    assert (tile(3, 2) == wanted).all()
    half = heatmaps.coloured(bright[:1] / 2, top).reshape(4, 4, 3)
    assert (tile(3, 3) == half).all() and half.sum() < wanted.sum()
    assert tile(3, 4).max() > half.max()  # another method has a scale of its own


def test_outline_leaves_the_object_itself():
    pictures = np.zeros((1, 6, 6, 3), np.uint8)
    masks = np.zeros((1, 6, 6), bool)
    masks[0, 2:4, 0:2] = True
    drawn = (heatmaps.outlined(pictures, masks)[0] == heatmaps.YELLOW).all(-1)
    assert np.argwhere(drawn).tolist() == [[1, 0], [1, 1], [2, 2], [3, 2], [4, 0], [4, 1]]


def test_maps_that_are_zero_everywhere_are_dark():
    dark = heatmaps.coloured(np.zeros((2, 4)), heatmaps.ceiling([np.zeros((2, 4))]))
    assert (dark == heatmaps.coloured(np.zeros((1, 1)), 1.0)).all()
