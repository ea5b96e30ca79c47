"""The probe sets as stored: labels, maps and images of the photographs agree."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from steps.data import photos, probes
from steps.data.album import album, folders, text
from steps.data.digest import written
from steps.params import Run
from steps.schema.data import Images
from steps.stage import StageError


@pytest.fixture
def stage(world, monkeypatch):
    """Writes small probe sets with a folder of photographs: (folder or `off`, out) -> metrics."""
    monkeypatch.setattr(probes, "PHOTO_SCENES", {"train": 60, "test": 30})
    monkeypatch.setattr(probes, "DIGITS", {"pool": 6, "test": 4})

    def run(where, out, told=None, images=(), source="world"):
        out.mkdir()
        sizes = dict.fromkeys(("classify_train", "segment_train"), 12)
        sizes |= dict.fromkeys(("classify_test", "segment_test"), 6)
        section = SimpleNamespace(**sizes, photos=str(where), images=images)
        data, who = SimpleNamespace(source=source), SimpleNamespace(seed=4)
        params = SimpleNamespace(probes=section, world=world, data=data, run=who)
        used = album(str(where)) | {"images": folders(images)}
        (out.parent / "photos.json").write_text(told or text(used))
        return probes.run(params, {"photos": out.parent / "photos.json"}, out)

    return run


def test_photo_scenes_are_stored_once_with_labels_and_maps(stage, folder, tmp_path):
    out = tmp_path / "out"
    metrics = stage(folder, out)
    assert metrics["photos/images"] == 90
    stored = {path.name for path in out.glob("photos*")}
    tables = {"photos_classify.parquet", "photos_segment.parquet"}
    assert stored == tables | {"photos_images.npy", "photos_segment_category.npy"}
    images, maps = (np.load(out / f"photos_{name}.npy") for name in ("images", "segment_category"))
    assert images.shape == (90, 64, 64, 3) and images.dtype == maps.dtype == np.uint8
    table, other = (pd.read_parquet(out / name) for name in sorted(tables))
    assert list(table.split) == list(other.split) == ["train"] * 60 + ["test"] * 30

    classes = json.loads((out / "probes.json").read_text())["segment"]["photos"]
    assert classes == ["fruit", "tools", "toys"]
    area = np.stack([(maps == 1 + c).sum((1, 2)) for c in range(3)], 1)
    main = np.array([classes.index(c) for c in table.category])
    d = area[np.arange(90), main]
    assert (d >= 32 * 24).all()  # the main one is whole
    assert set(map(tuple, area > 0)) > {(True, False, False), (True, True, True)}
    # under the noise, the category's green is what its map says
    level = [images[maps == 1 + c][:, 1].mean() for c in (0, 2, 1)]
    assert level[0] < 40 and abs(level[1] - 80) < 5 and abs(level[2] - 160) < 5


def test_photo_scenes_of_the_two_splits_share_no_photograph(stage, folder, tmp_path):
    stage(folder, tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "photos_classify.parquet")
    shown = {s: set(zip(t.category, t.label, strict=True)) for s, t in table.groupby("split")}
    bank = photos.bank(folder)
    rows = list(zip(bank.categories, bank.names, bank.splits, strict=True))
    for split, labels in shown.items():
        assert labels <= {(c, n) for c, n, s in rows if s == split}
    assert len(shown["train"]) > 12 and len(shown["test"]) > 6


def test_without_photographs_there_are_none(stage, tmp_path):
    metrics = stage("off", tmp_path / "out")
    assert "photos/images" not in metrics and not list((tmp_path / "out").glob("photos*"))
    assert "photos" not in json.loads((tmp_path / "out" / "probes.json").read_text())["segment"]


def test_the_photographs_used_are_told(stage, folder, tmp_path, monkeypatch):
    logged = {}
    monkeypatch.setattr(
        probes.log, "dataset", lambda name, digest, context: logged.update({name: digest})
    )
    metrics = stage(folder, tmp_path / "out")
    used = json.loads((tmp_path / "out/probes.json").read_text())["photographs"]
    assert metrics["photos/files"] == used["files"] == 38
    assert used == album(str(folder)) | {"images": []}
    assert logged["photos"] == written(tmp_path / "out", "photos")
    assert set(logged) == {"classify", "segment", "digits", "photos"}


def test_photographs_that_changed_meanwhile_are_refused(stage, folder, cutout, tmp_path):
    told = text(album(str(folder)) | {"images": []})
    cutout(folder / "fruit/sub/thing-01.png", (9, 9, 9))
    with pytest.raises(StageError, match="are not those that .*photos.json tells of: run the"):
        stage(folder, tmp_path / "out", told)


def test_a_folder_of_ones_own_is_a_set_beside_them(stage, tmp_path):
    """Through the stage: listed in probes.json, logged, drawn alike on every seed."""
    from PIL import Image

    for name, colour in (("ham", (200, 60, 60)), ("jam", (60, 60, 200))):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(8):
            Image.new("RGB", (40, 30), colour).save(tmp_path / "own" / name / f"{i}.png")
    (tmp_path / "own/jam/8.png").write_bytes(b"")
    one = {"name": "own", "layout": "imagefolder", "path": str(tmp_path / "own"), "size": 16}
    one |= {"fit": "crop", "train": 4, "test": 2, "test_share": 0.3, "broken_share": 0.5}
    metrics = stage("off", tmp_path / "out", images=[SimpleNamespace(**one)])
    assert metrics["own/images"] == 12
    told = json.loads((tmp_path / "out/probes.json").read_text())
    assert told["sets"] == {"own": {"classify": {"own": ["label"]}}}
    assert (tmp_path / "out/broken.json").is_file()


def test_with_data_of_one_s_own_nothing_of_the_world_is_drawn(stage, tmp_path):
    for i in range(20):
        path = tmp_path / "mine" / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (12 * i, 0, 0)).save(path)
    told = {"name": "mine", "layout": "imagefolder", "path": str(tmp_path / "mine"), "size": 16}
    one = Images.model_validate(told | {"train": 6, "test": 4})
    out = tmp_path / "out"
    metrics = stage("off", out, images=[one], source="files")
    assert {path.name for path in out.iterdir()} == {
        "mine.parquet", "mine_images.npy", "probes.json", "broken.json"
    }  # fmt: skip
    known = json.loads((out / "probes.json").read_text())
    assert known["sets"] == {"mine": {"classify": {"mine": ["label"]}}}
    assert "classify" not in known and "segment" not in known
    assert metrics["mine/images"] == 16 and "classify/images" not in metrics

    from steps.encoder import classify, segment

    pixels = np.load(out / "mine_images.npy").mean((1, 2))  # the red of an image tells its number
    section = SimpleNamespace(kinds=["ridge"], penalties=[1.0], select_share=0.2)
    params = SimpleNamespace(classify=section, run=Run("s", "classify", "b", "a", 0))
    figures, tables = classify.probe(lambda name: pixels, out, params, "")
    assert {name.split("/")[1] for name in figures} == {"mine"} and len(tables) == 1
    params = SimpleNamespace(segment=None, run=params.run)
    assert segment.probe(lambda name: pixels, out, params, "") == ({}, [], {})
