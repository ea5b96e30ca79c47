"""The world of the default study, and a folder of cut-outs, for tests of the data."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from steps import params
from steps.data import photos
from steps.data import stamps as table


@pytest.fixture(scope="session")
def world():
    return _world()


def _world():
    return params.load(Path(__file__).parents[2] / "params.yaml").world


@pytest.fixture(scope="session")
def photographed():
    """A world of photographs whose stamps are discs, each of a colour: no package is needed."""
    kept = [row for row in table.listed() if row["verdict"] == "keep"]
    rows = [row for row in kept if row["category"] in table.words()[0]]
    split = table.split(rows)
    y, x = np.mgrid[:40, :40] - 19.5
    discs = []
    for i in range(len(rows)):
        disc = np.zeros((40, 40, 4), np.uint8)
        disc[np.hypot(y, x) < 19] = (37 * i % 256, 101 * i % 256, 197 * i % 256, 255)
        discs.append(Image.fromarray(disc))
    names, nouns, kinds = ([row[k] for row in rows] for k in ("name", "noun", "category"))
    paths = [row["path"] for row in rows]
    bank = photos.Photos(paths, names, nouns, kinds, [split[p] for p in paths], {}, [], discs)
    told = {"sprites": "photos", "letter_share": 0.0, "contrast": 1.0, "repeat": 0.45, "noise": 5.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steps.data.world.stamps", lambda: bank)
        yield _world().model_copy(update=told)


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
