"""The world of the default study, and a folder of cut-outs, for tests of the data."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from steps import params


@pytest.fixture(scope="session")
def world():
    return params.load(Path(__file__).parents[2] / "params.yaml").world


def _cutout(path, color, size=(60, 40), box=(10, 5, 50, 35)):
    """A PNG with an opaque box of one colour; white lies hidden below its transparent rest."""
    image = np.full((size[1], size[0], 4), (255, 255, 255, 0), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = (*color, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def cutout():
    """Writes one cut-out: (path, colour)."""
    return _cutout


@pytest.fixture
def folder(tmp_path):
    """Three folders of twelve cut-outs of twelve colours, a small folder and a cartoon."""
    for k, kind in enumerate(("fruit", "toys", "tools")):
        for i in range(12):
            _cutout(tmp_path / kind / "sub" / f"thing-{i:02d}.png", (20 * i, 80 * k, 130))
    (tmp_path / "toys/sub/thing-03.txt").write_text("A red ball.\nfr.utf8=Une balle.\n")
    _cutout(tmp_path / "odd" / "single.png", (1, 2, 3))
    _cutout(tmp_path / "toys" / "cartoon" / "drawn.png", (1, 2, 3))
    return tmp_path
