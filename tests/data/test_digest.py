"""A data set's digest is one of its content."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps.data import items
from steps.data.digest import written


@pytest.fixture
def out(tmp_path):
    pd.DataFrame({"label": ["a", "b"]}).to_parquet(tmp_path / "toys.parquet")
    np.save(tmp_path / "toys_images.npy", np.zeros((2, 4, 4, 3), np.uint8))
    return tmp_path


def test_one_pixel_or_one_label_is_another_data_set(out):
    first = written(out, "toys")
    assert len(first) == 16 and written(out, "toys") == first
    (out / "other.json").write_text("{}")
    assert written(out, "toys") == first
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1, 2, 3, 0] = 1
    np.save(out / "toys_images.npy", images)
    second = written(out, "toys")
    pd.DataFrame({"label": ["a", "c"]}).to_parquet(out / "toys.parquet")
    assert len({first, second, written(out, "toys")}) == 3


def test_stage_items_logs_the_digest_of_what_it_wrote(tmp_path, monkeypatch):
    told = {}
    log = SimpleNamespace(dataset=lambda name, digest, context: told.update({name: digest}))
    monkeypatch.setattr(items, "log", log)
    for name, grey in (("a", 50), ("b", 50), ("c", 20)):
        (tmp_path / name).mkdir()
        rows, images = [{"prompt": "what ?"}], np.full((1, 4, 4, 3), grey, np.uint8)
        items._write(tmp_path / name, "train", 3, rows, images)
        told[name] = told.pop("train")
    assert told["a"] == told["b"] != told["c"]
