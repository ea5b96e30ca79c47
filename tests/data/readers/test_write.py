"""A draw as the probes' folder: what the probes of the encoder read is there and fits."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps.data.readers.classes import imagefolder
from steps.data.readers.draw import draw
from steps.data.readers.masks import ade20k, folder
from steps.data.readers.write import write
from steps.encoder import classify, features, scores, segment
from steps.stage import StageError


def encode(images):
    """16 patches of 6 x 6 pixels of a 24-pixel image, each its mean colour."""
    patches = images.reshape(len(images), 4, 6, 4, 6, 3).mean((2, 4)).reshape(-1, 16, 3)
    return {"vit": torch.from_numpy(patches / 255).float()}


@pytest.fixture
def section():
    return SimpleNamespace(
        classify=SimpleNamespace(penalties=[1e-2, 1.0], select_share=0.2),
        segment=SimpleNamespace(epochs=40, batch=4, rates=[0.1], select_share=0.2, patch_epochs=0),
        run=SimpleNamespace(seed=0, study="s", base="b", arm="a"),
    )


def test_images_with_labels_can_be_probed(imagenet, tmp_path, section):
    out = tmp_path / "out"
    out.mkdir()
    (out / "probes.json").write_text(json.dumps({"classify": {"asked": ["shape"]}}))
    listing = imagefolder(imagenet)
    drawn = draw(listing, {"train": 6, "test": 3}, size=24)
    told = write(listing, drawn, out, "imagenet", "objects")
    assert told == {"imagenet/images": 27, "imagenet/broken": 0, "imagenet/tried": 27}
    assert json.loads((out / "probes.json").read_text()) == {
        "classify": {"asked": ["shape"]},  # what was there stays
        "sets": {"imagenet": {"classify": {"objects": ["label"]}}},
    }
    images = np.load(out / "imagenet_images.npy", allow_pickle=False)
    assert images.dtype == np.uint8 and (images == drawn.images).all()
    features.cache(out, encode, 8, out)
    x, rows = scores.open_set(
        lambda name: features.load(out, name, "vit"), out, "imagenet", ["split", "label"]
    )
    assert x.shape == (27, 3)
    right, _, chance = classify.linear(x, rows, ["label"], section.classify, 0)["label"]
    assert list(right) == list(rows[rows.split == "test"].label)
    assert chance == pytest.approx(1 / 3)
    assert list(scores.ids(rows, "imagenet")) == list(drawn.table["item"])


def test_images_with_maps_can_be_probed(pairs, tmp_path, section):
    out = tmp_path / "out"
    out.mkdir()
    listing = folder(pairs)
    drawn = draw(listing, {"train": 8, "test": 2}, size=24)
    write(listing, drawn, out, "segment", "things")
    assert json.loads((out / "probes.json").read_text()) == {
        "segment": {"things": ["fish", "dog", "saw"]}
    }
    features.cache(out, encode, 8, out)
    section.segment.select_share = 0.3
    figures, tables, maps = segment.probe(
        lambda name: features.load(out, name, "vit"), out, section, ""
    )
    assert figures["segment/things/pixels_right"] > 0.8
    assert list(tables[0].item) == list(drawn.table[drawn.table.split == "test"]["item"])
    assert maps["things"].shape == (2, 24, 24)


def test_a_set_of_its_own_name_keeps_its_patches(ade, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    listing = ade20k(ade)
    write(listing, draw(listing, {"train": 4, "test": 2}, size=24), out, "ade20k_segment", "class")
    entry = json.loads((out / "probes.json").read_text())["sets"]["ade20k_segment"]
    assert len(entry["segment"]["class"]) == 150
    maps = np.load(out / "ade20k_segment_class.npy", allow_pickle=False)
    assert maps.shape == (6, 24, 24) and maps.dtype == np.uint8 and (maps == 255).any()
    features.cache(out, encode, 8, out)
    assert features.load(out, "ade20k_segment", "vit").shape == (6, 16, 3)
    assert list(pd.read_parquet(out / "ade20k_segment.parquet").columns) == ["item", "split"]


def test_what_was_left_out_is_written_down(imagenet, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    hurt = sorted((imagenet / "val" / "n02102040").iterdir())[1]
    hurt.write_bytes(b"")
    listing = imagefolder(imagenet)
    write(listing, draw(listing, {"train": 2, "test": 4}, 8, broken_share=0.2), out, "a", "k")
    assert json.loads((out / "broken.json").read_text())["a"] == {
        "tried": 18,
        "used": 17,
        "reasons": {"empty (0 bytes)": 1},
        "broken": [
            {"path": hurt.relative_to(imagenet).as_posix(), "reason": "empty (0 bytes)"},
        ],
        "absent": [],
        "short": {"test/n02102040": 3},
        "untaught": [],
    }


def test_a_name_that_features_would_misread_is_refused(imagenet, pairs, tmp_path):
    for listing, name in ((imagefolder(imagenet), "my_segments"), (folder(pairs), "things")):
        drawn = draw(listing, {"train": 2, "test": 1}, 8)
        with pytest.raises(StageError, match="names of sets with maps have `segment` in them"):
            write(listing, drawn, tmp_path, name, "k")
