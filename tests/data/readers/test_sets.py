"""A folder that params name becomes a set that the stages `probes`, `features`, ... read."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps.data.readers import sets
from steps.stage import StageError


def section(path, layout, **own):
    told = {"name": "own", "layout": layout, "path": str(path), "size": 24, "fit": "crop"}
    told |= {"train": 5, "test": 2, "test_share": 0.3, "broken_share": 0.0}
    return SimpleNamespace(**told | own)


def test_every_layout_has_its_reader(imagenet, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    told = sets.add(section(imagenet, "imagefolder"), out)
    assert told["own/images"] == 21 and told["own/broken"] == 0
    known = json.loads((out / "probes.json").read_text())
    assert known == {"sets": {"own": {"classify": {"own": ["label"]}}}}
    again = tmp_path / "again"
    again.mkdir()
    sets.add(section(imagenet, "imagefolder"), again)
    one, other = (np.load(folder / "own_images.npy") for folder in (out, again))
    assert np.array_equal(one, other)


def test_masks_are_stored_where_places_are_kept(pairs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    told = section(pairs, "masks")
    assert sets.stored(told) == "own_segment"
    sets.add(told, out)
    maps = np.load(out / "own_segment_own.npy")
    assert len(maps) == len(pd.read_parquet(out / "own_segment.parquet")) == 7
    assert json.loads((out / "probes.json").read_text())["sets"]["own_segment"]["segment"]["own"]


def test_a_layout_that_the_folder_has_not(imagenet, tmp_path):
    with pytest.raises(StageError):
        sets.add(section(imagenet, "voc"), tmp_path)
