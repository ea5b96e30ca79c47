"""The segmentation probe: its figures against torchmetrics, its honesty, its items."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from steps.encoder import segment

TEXTURES = ["plain", "stripes"]


def planted(probes):
    """Tokens that hold the share of each class in the patch, and noise: float16 [60, 64, 20]."""
    maps = [np.load(probes / f"segment_{kind}.npy") for kind in ("shape", "texture")]
    cells = [m.reshape(60, 8, 8, 8, 8).swapaxes(2, 3).reshape(60, 64, 64) for m in maps]
    shares = [(c == k).mean(2) for c in cells for k in (1, 2)]
    noise = np.random.default_rng(0).normal(size=(60, 64, 16))
    return np.concatenate([np.stack(shares, 2), noise], 2).astype(np.float16)


def test_miou_equals_torchmetrics():
    from torchmetrics.classification import MulticlassF1Score, MulticlassJaccardIndex

    rng = np.random.default_rng(0)
    y, told = (torch.from_numpy(rng.integers(0, 5, (6, 16, 16))) for _ in range(2))
    told = torch.where(torch.from_numpy(rng.random((6, 16, 16)) < 0.6), y, told)
    counts = segment.confusion(told, y, 7).sum(0)  # classes 5 and 6 never occur
    metrics = segment.summary("m", counts, list("abcdefg"))
    peer = MulticlassJaccardIndex(7, average="macro")(told, y).item()
    assert metrics["m/miou"] == pytest.approx(peer, abs=1e-6)
    each = MulticlassJaccardIndex(7, average="none")(told, y)
    assert [metrics[f"m/iou/{c}"] for c in "abcde"] == pytest.approx(each[:5].tolist(), abs=1e-6)
    assert "m/iou/f" not in metrics
    f1 = MulticlassF1Score(7, average="macro")(told, y).item()
    assert metrics["m/f1"] == pytest.approx(f1, abs=1e-6)
    assert metrics["m/pixels_right"] == pytest.approx((told == y).double().mean().item())


def test_stage(probes, section, tmp_path):
    tokens = planted(probes)
    np.save(tmp_path / "segment_vit.npy", tokens)
    metrics = segment.run(section, {"features": tmp_path, "probes": probes}, tmp_path)
    assert metrics["segment/shape/miou"] > 0.75  # 1 is out of reach: a patch is 8 pixels wide
    assert metrics["segment/texture/miou_objects"] > 0.65
    assert not any(name.startswith("proj/") for name in metrics)
    assert all(isinstance(v, float) and np.isfinite(v) for v in metrics.values())
    items = pd.read_parquet(tmp_path / "items.parquet")
    assert set(items.instrument) == {"segment/shape", "segment/texture"}
    rows = items[items.instrument == "segment/shape"]
    assert len(rows) == 20
    assert rows.lenient.mean() == pytest.approx(metrics["segment/shape/pixels_right"])
    each = np.array(
        [list(json.loads(raw).values()) for raw in rows.raw]
    )  # [image, class, tp fn fp]
    iou = each[..., 0].sum(0) / each.sum((0, 2))
    assert iou.mean() == pytest.approx(metrics["segment/shape/miou"])
    recall = each[..., 0].sum(0) / each[..., :2].sum((0, 2))
    assert recall.mean() == pytest.approx(metrics["segment/shape/recall"])
    assert Image.open(tmp_path / "maps.png").size == (2 * 5 * 68, 2 * 6 * 68)


def test_patch_by_patch_stands_beside_it(probes, section, tmp_path):
    np.save(tmp_path / "segment_vit.npy", planted(probes))
    section.segment.patch_epochs, section.segment.patch_rate = 40, 0.1
    metrics = segment.run(section, {"features": tmp_path, "probes": probes}, tmp_path)
    assert metrics["segment/shape/patch/localisation/map"] > 0.3
    assert metrics["segment/shape/patch/local/map"] == pytest.approx(
        metrics["segment/shape/patch/global/map"] + metrics["segment/shape/patch/localisation/map"]
    )
    items = pd.read_parquet(tmp_path / "items.parquet")
    assert (items.instrument == "segment/shape/patch").sum() == 20


def test_ignored_pixels_are_neither_learnt_nor_scored(probes, section, tmp_path):
    """Wrong classes under the ignored label change nothing; so does their prediction."""
    tokens, spoilt = planted(probes), tmp_path / "probes"
    shutil.copytree(probes, spoilt)
    whole = np.load(probes / "segment_shape.npy")
    maps = whole.copy()
    maps[:, :24] = 255
    np.save(spoilt / "segment_shape.npy", maps)
    told = segment.probe(lambda name: tokens, spoilt, section, "")[2]["shape"]
    found = segment.probe(lambda name: tokens, spoilt, section, "")[0]
    split = pd.read_parquet(probes / "segment.parquet").split
    below = np.flatnonzero(split == "test")
    counts = segment.confusion(
        torch.from_numpy(told[:, 24:]), torch.from_numpy(whole[below, 24:]), whole.max() + 1
    )
    rows = segment.table(counts.sum(0))
    assert found["segment/shape/miou"] == pytest.approx(rows.iou.mean())
    assert found["segment/shape/miou"] > 0.6


def test_shuffled_maps_teach_nothing(probes, section):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(60, 64, 16)).astype(np.float32))
    metrics, _, _ = segment.probe(lambda name: x.numpy(), probes, section, "")
    assert metrics["segment/shape/miou_objects"] < 0.1
    assert metrics["segment/shape/recall"] < 0.4  # all background: one class of three


def test_rate_is_blind_to_the_test_set(probes, section, tmp_path):
    tokens = planted(probes)
    before, _, first = segment.probe(lambda name: tokens, probes, section, "")
    for path in probes.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for kind in ("shape", "texture"):
        y = np.load(probes / f"segment_{kind}.npy")
        y[40:] = y[40:][::-1, ::-1]
        np.save(tmp_path / f"segment_{kind}.npy", y)
    after, _, second = segment.probe(lambda name: tokens, tmp_path, section, "")
    assert (first["shape"] == second["shape"]).all()
    assert before["segment/shape/rate"] == after["segment/shape/rate"]
    assert before["segment/shape/miou"] > after["segment/shape/miou"]


def test_bad_maps(probes, section, tmp_path):
    tokens = planted(probes)
    for path in probes.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())

    def wrong(y, match):
        np.save(tmp_path / "segment_shape.npy", y)
        with pytest.raises(ValueError, match=match):
            segment.probe(lambda name: tokens, tmp_path, section, "")

    y = np.load(probes / "segment_shape.npy")
    wrong(y[:50], r"shape \(50, 64, 64\): it must be \[60, height, width\]")
    wrong(y + 3, "holds the class 5, but probes.json names 3")
    wrong(y * 0, "all training maps are one class")
    with pytest.raises(ValueError, match="63 patch tokens make no square grid"):
        segment.probe(lambda name: tokens[:, :63], probes, section, "")
    with pytest.raises(ValueError, match="40 training and 20 test rows for 59 images"):
        segment.probe(lambda name: tokens[:59], probes, section, "")


def test_starts_without_transformers():
    code = "import sys, steps.encoder.segment as s; print('transformers' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_photographs_are_a_set_of_their_own(probes, section, tmp_path):
    for path in probes.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    y = np.load(probes / "segment_texture.npy")[::-1]
    np.save(tmp_path / "photos_segment_category.npy", y)
    rows = pd.DataFrame({"split": ["test"] * 20 + ["train"] * 40})
    rows.to_parquet(tmp_path / "photos_segment.parquet")
    kinds = {"segment": {"texture": TEXTURES, "photos": ["animals", "food"]}}
    (tmp_path / "probes.json").write_text(json.dumps(kinds))
    asked = []

    def tokens(name):
        asked.append(name)
        return planted(probes) if name == "segment" else planted(probes)[::-1].copy()

    metrics, tables, maps = segment.probe(tokens, tmp_path, section, "")
    assert asked == ["segment", "photos_segment"]
    assert metrics["segment/photos/miou_objects"] > 0.65
    assert "segment/photos/iou/food" in metrics
    assert list(maps) == ["texture", "photos"] and tables[1].item[0] == "photos_segment-0"
