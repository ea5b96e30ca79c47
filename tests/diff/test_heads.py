"""The stage: what it writes, that it says the same twice, and what it refuses."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps.diff import heads, relations
from steps.diff.drivers import concentration
from steps.diff.sae import saved
from steps.models import load
from steps.stage import StageError

WIDTH = 40
PICKED = [("residual.1", 3, "left"), ("residual.0", 5, "below"), ("heads.1", 7, "right")]


class Planted:
    """A dictionary whose latent j fires on about half of the tokens, in each of them another."""

    def __init__(self, folder):
        assert folder.name == "MF"
        generator = torch.Generator().manual_seed(len(folder.parent.name))
        rows = torch.randn(WIDTH, 24, generator=generator)
        self.weights = {"W_enc": rows.T.contiguous(), "W_dec": rows}

    def codes(self, x):
        return (x @ self.weights["W_enc"]).relu()


@pytest.fixture(scope="module")
def folders(vlm, tmp_path_factory):
    """A base of two random models, and the table of a spatial stage."""
    base, spatial = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("spatial")
    model, processor = vlm
    for name in ("aligned", "instruct"):
        model.save_pretrained(base / name)
        processor.save_pretrained(base / name)
    model = load.vlm(base / "aligned")
    with torch.no_grad():
        for layer in model.get_decoder().layers:
            layer.self_attn.o_proj.weight.mul_(-0.5)
    model.save_pretrained(base / "aligned")
    table = pd.DataFrame(PICKED, columns=["site", "feature", "relation"])
    table["selected"], table["auroc_select"] = True, [0.9, 0.8, 0.7]
    table.to_parquet(spatial / "spatial.parquet")
    return {"base": base, "spatial": spatial, "dictionary": base / "none"}


@pytest.fixture
def want(params, world, monkeypatch):
    monkeypatch.setattr(saved, "load", Planted)
    monkeypatch.setattr(concentration, "RESAMPLES", 50)
    sizes = {"scenes": 48, "features": 3, "exact": 9, "random": 2, "batch": 16, "few": 0.05}
    return SimpleNamespace(run=params.run, world=world, heads=SimpleNamespace(**sizes))


def test_everything_is_written_and_said_again(folders, want, tmp_path):
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(heads.run(want, folders, tmp_path / name))
    assert found[0] == found[1]
    metrics, one = found[0], tmp_path / "one"
    for name in ("heads.parquet", "swaps.parquet", "heads.png"):
        assert (one / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert all(np.isfinite(value) for value in metrics.values())
    assert all(name.startswith("heads/") for name in metrics)
    assert metrics["heads/patched"] == 4
    table = pd.read_parquet(one / "heads.parquet")
    sizes = table.groupby(["kind", "site"]).size()
    assert sizes["margin", "answer"] == 4
    assert sizes["chosen", "heads.1"] == sizes["chosen", "residual.1"] == 4
    # Six of twelve scenes of a half have names of one length: too few to ask `below` of.
    assert metrics["heads/left_out"] == 1 and ("chosen", "residual.0") not in sizes
    assert (table["exact"].notna()).all()
    assert (table["first"] + table["second"] + table["other"] <= 1.0001).all()
    assert table["writes"].notna().eq(table["site"].str.startswith("residual")).all()
    swapped = pd.read_parquet(one / "swaps.parquet")
    rows = swapped.groupby(["way", "by"]).size()
    assert rows["swap", "margin"] == rows["ablate", "chosen"] == rows["tuned", ""] == 1
    assert rows["swap", "chosen_random"] == 1  # a layer has two heads
    for way in ("swap", "ablate"):
        change = swapped.query("way == @way and by == 'margin'")["margin"].item()
        assert metrics[f"heads/{way}/margin"] == pytest.approx(
            change - metrics["heads/tuned/margin"]
        )


def test_too_few_scenes_are_refused(folders, want, tmp_path):
    want.heads.scenes = 16
    with pytest.raises(StageError, match=r"heads\.scenes = 16"):
        heads.run(want, folders, tmp_path)


def test_without_features_the_answer_is_asked_about_all_the_same(folders, want, tmp_path):
    spatial, out = tmp_path / "spatial", tmp_path / "out"
    spatial.mkdir()
    out.mkdir()
    table = pd.read_parquet(folders["spatial"] / "spatial.parquet")
    table[:0].to_parquet(spatial / "spatial.parquet")
    metrics = heads.run(want, folders | {"spatial": spatial}, out)
    assert metrics["heads/features"] == 0 and "heads/swap/margin/gap" in metrics
    assert not [name for name in metrics if "selectivity/features" in name or "random" in name]
    assert set(pd.read_parquet(out / "heads.parquet")["kind"]) == {"margin"}


def test_scenes_to_choose_on_are_so_for_the_stage_before_too(world):
    """The spatial stage draws more of the same scenes: none it chose on is reported on."""
    few, many = (relations.draw(world, 3, count).table for count in (16, 48))
    assert many[:16].equals(few)
