"""The stage `gaze` on a tiny model, on one that cannot look, and on the bundled base."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps.behaviour import gaze
from steps.models import load
from steps.stage import StageError

BASE = Path(__file__).parents[2] / "models" / "bundled" / "instruct"


@pytest.fixture
def told():
    return SimpleNamespace(
        items=9, share=0.25, layers=[0, 1], masked=0.2, draws=2, kept=[0.25, 1.0], batch=4
    )


def run(told, model, items, out):
    who = SimpleNamespace(study="s", base="b", arm="none", seed=3)
    return gaze.run(SimpleNamespace(gaze=told, run=who), {"model": model, "items": items}, out)


def test_stage_keeps_every_intervention_of_every_item(read, told, tmp_path):
    found = run(told, read.folder / "model", read.folder / "items", tmp_path)
    items = pd.read_parquet(tmp_path / "items.parquet")
    columns = ["study", "base", "arm", "seed", "instrument", "item", "logp", "hit"]
    assert list(items.columns) == columns
    assert not items.duplicated(["instrument", "item"]).any() and items.notna().all(None)
    counts = dict.fromkeys(("none", "anchors", "random", "lowest"), 9)
    counts |= {"heads": 4, "random_heads": 4}
    assert items.groupby("instrument").size().to_dict() == {
        f"gaze_{name}": count for name, count in counts.items()
    }
    wide = items.pivot(index="item", columns="instrument", values="logp")
    drop = (wide["gaze_none"] - wide["gaze_anchors"]).mean()
    assert found["gaze/drop/anchors"] == pytest.approx(drop) and drop != 0
    assert found["gaze/drop/anchors/low"] <= drop <= found["gaze/drop/anchors/high"]
    heads = pd.read_parquet(tmp_path / "heads.parquet")
    assert len(heads) == 8 and heads["picked"].sum() == 2
    assert heads["score"].sum() == pytest.approx(1)
    looks = pd.read_parquet(tmp_path / "looks.parquet")
    assert len(looks) == 18 and found["gaze/box/items"] == looks["box"].notna().sum() / 2
    assert found["gaze/untrained/box/enrichment"] == pytest.approx(1, abs=0.05)
    kept = pd.read_parquet(tmp_path / "kept.parquet")
    assert found["gaze/kept/left_out"] == 9 - kept["item"].nunique()
    whole = kept[kept["share"] == 1].groupby("item")["right"].nunique()
    assert (whole == 1).all()  # all ways to choose are one where nothing is left out
    assert all(np.isfinite(value) for value in found.values())
    who = SimpleNamespace(study="s", base="b", arm="none", seed=3)
    again = gaze.rescored(SimpleNamespace(gaze=told, run=who), {}, tmp_path, tmp_path)
    by_model = ("gaze/heads/", "gaze/untrained/")
    assert again == {k: v for k, v in found.items() if not k.startswith(by_model)}
    assert run(told, read.folder / "model", read.folder / "items", tmp_path) == found


def test_figures_do_not_hang_on_the_size_of_batches(read, told, tmp_path):
    one, other = {}, {}
    for found, told.batch in ((one, 9), (other, 2)):
        found |= run(told, read.folder / "model", read.folder / "items", tmp_path)
    assert one == pytest.approx(other, abs=2e-4)


def test_a_model_that_cannot_look_loses_nothing(read, told, tmp_path):
    """No layer passes on what its heads read: no intervention on them has an effect."""
    blind = load.vlm(read.folder / "model")
    for layer in blind.model.language_model.layers:
        layer.self_attn.o_proj.weight.data.zero_()
    blind.save_pretrained(tmp_path / "blind")
    for file in (read.folder / "model").glob("*[!s].*"):
        if not (tmp_path / "blind" / file.name).exists():
            shutil.copy(file, tmp_path / "blind")
    (tmp_path / "out").mkdir()
    found = run(told, tmp_path / "blind", read.folder / "items", tmp_path / "out")
    for name, value in found.items():
        if name.startswith(("gaze/drop/", "gaze/lost/")):
            assert value == pytest.approx(0, abs=1e-5), name
    for way in ("attention", "anchors", "random"):
        assert found[f"gaze/kept/{way}/0.25"] == found["gaze/kept/random/1"]


def test_the_base_looks_where_it_matters(read, told, tmp_path):
    """A model known to see: its anchors carry more than its least connected words."""
    told.items, told.layers, told.masked = 14, [3], 0.1
    found = run(told, BASE, read.folder / "items", tmp_path)
    assert found["gaze/drop/anchors"] > 0.3 > abs(found["gaze/drop/lowest"])
    assert found["gaze/vas/image"] > found["gaze/vas/system"] > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [({"layers": [2]}, "layers 0 to 1"), ({"items": 1}, "raise it"), ({"masked": 0.9}, "of 8")],
)
def test_what_cannot_be_measured_is_refused(read, told, change, said, tmp_path):
    vars(told).update(change)
    with pytest.raises(StageError, match=said):
        run(told, read.folder / "model", read.folder / "items", tmp_path)


def test_image_tokens_that_make_no_square_are_refused(read):
    model = SimpleNamespace(config=SimpleNamespace(image_seq_length=60))
    with pytest.raises(StageError, match="60 tokens, which make no square"):
        gaze._patches(model, read.table, read.pictures)
