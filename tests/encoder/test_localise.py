"""The stage `localise` on a tiny model, on one that cannot look, and on the bundled base."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from steps import params
from steps.data.items import draw
from steps.data.language import vocabulary
from steps.data.paint import classes, render
from steps.encoder import localise, saliency
from steps.models import build, load, look
from steps.stage import StageError

ROOT = Path(__file__).parents[2]
BASE = ROOT / "models" / "bundled" / "instruct"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Items, pairs and a tiny random model, in folders as stages leave them."""
    folder = tmp_path_factory.mktemp("localise")
    world = params.load(ROOT / "params.yaml").world
    rows, scenes = draw(world, np.random.default_rng(0), 72, "train", False, 0.5)
    table = pd.DataFrame(rows)
    table.insert(0, "item", [f"i{i}" for i in range(len(table))])
    images, owner = render(world, scenes)
    for name in ("items", "pairs", "model"):
        (folder / name).mkdir()
    table.to_parquet(folder / "items" / "train.parquet")
    np.save(folder / "items" / "train_images.npy", images)
    np.save(folder / "items" / "train_maps.npy", classes(owner, scenes.shape))
    others = [
        next(c for c in choices if c != value)
        for choices, value in zip(table["choices"], table["value"], strict=True)
    ]
    columns = ["item", "image", "kind", "form", "style", "prompt", "value"]
    pairs = table[columns].assign(chosen=table["response"], rejected=others, reason="wrong")
    pairs.to_parquet(folder / "pairs" / "pairs.parquet")
    sizes = SimpleNamespace(
        tower_width=16, tower_layers=1, tower_heads=2, width=24, layers=2, heads=3, feed_forward=32
    )
    model = build.vlm(build.config(sizes, 64, 8, vocabulary()), 0)
    for weights in model.model.language_model.layers.parameters():
        weights.data.mul_(4.0)  # else heads look everywhere alike
    model.save_pretrained(folder / "model")
    build.processor(64, 8, vocabulary()).save_pretrained(folder / "model")
    return folder


def run(folder, out, model=None, items=10, batch=4):
    who = SimpleNamespace(study="s", base="b", arm="none", seed=3)
    told = SimpleNamespace(localise=SimpleNamespace(items=items, batch=batch), run=who)
    inputs = {name: folder / name for name in ("model", "items", "pairs")}
    out.mkdir(exist_ok=True)
    return localise.run(told, inputs | ({"model": model} if model else {}), out)


def test_stage_scores_every_map_of_every_question(folder, tmp_path):
    found = run(folder, tmp_path)
    items = pd.read_parquet(tmp_path / "items.parquet")
    assert list(items.columns[:5]) == ["study", "base", "arm", "seed", "instrument"]
    keys = ["item", "loss", "place", "method"]
    assert len(items) == 10 * 4 * 2 * 2 and not items.duplicated(keys).any()
    assert items.notna().all(None) and not items.duplicated(["instrument", "item"]).any()
    part = items[(items["loss"] == "reward") & (items["place"] == "projector")]
    part = part[part["method"] == "gradient"]
    for name in localise.SCORES:
        told = found[f"localise/reward/projector/gradient/{name}"]
        assert told == pytest.approx(part[name].mean())
    checks = pd.read_parquet(tmp_path / "controls.parquet")
    assert checks.groupby("check").size().to_dict() == {"random_labels": 160, "random_weights": 160}
    wanted = 2 + 16 * len(localise.SCORES) + 2 * 16 * len(localise.CHECKED)
    assert len(found) == wanted and all(np.isfinite(value) for value in found.values())
    assert found["localise/items"] == 10
    assert found["localise/area"] == pytest.approx(part["area"].mean())
    maps = np.load(tmp_path / "maps.npy")
    assert maps.shape == (16, 10, 64) and (maps >= 0).all()
    assert Image.open(tmp_path / "gallery.png").size[0] == 18 * 2 * 68
    assert run(folder, tmp_path) == found


def test_checks_change_what_they_say_they_change(folder, tmp_path):
    found = run(folder, tmp_path)
    for check in ("random_weights", "random_labels"):
        for loss in saliency.LOSSES:
            assert found[f"localise/{check}/{loss}/encoder/gradient/alike"] < 0.99


def test_figures_do_not_hang_on_the_size_of_batches(folder, tmp_path):
    one, other = (run(folder, tmp_path / str(size), batch=size) for size in (10, 3))
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name.endswith(("energy", "enrichment", "entropy")):
            assert other[name] == pytest.approx(value, rel=0.01, abs=2e-3), name


def test_a_model_that_cannot_look_scores_the_area(folder, tmp_path):
    """No layer passes on what its heads read: no loss depends on the image."""
    blind = load.vlm(folder / "model")
    for layer in blind.model.language_model.layers:
        layer.self_attn.o_proj.weight.data.zero_()
    shutil.copytree(folder / "model", tmp_path / "blind")
    blind.save_pretrained(tmp_path / "blind")
    found = run(folder, tmp_path / "out", tmp_path / "blind")
    for name, value in found.items():
        if name.startswith("localise/random_weights"):
            continue
        if name.endswith(("/enrichment", "/entropy")):
            assert value == pytest.approx(1), name
        if name.endswith(("/pointing", "/energy", "/iou", "/iou_chance")):
            assert value == pytest.approx(found["localise/area"]), name


@pytest.mark.slow
def test_the_base_looks_at_the_object_asked_about(folder, tmp_path):
    """A model known to see: more than one that was never trained, and more than when it describes.

    The question names its object whatever the answer, so random labels take little away.
    """
    found = run(folder, tmp_path, BASE, items=36, batch=18)

    def score(name):
        return found[f"localise/{name}/gradient/enrichment"]

    for place in saliency.PLACES:
        for loss in ("answer", "preference", "reward"):
            assert score(f"{loss}/{place}") > 3 > 1.6 > score(f"random_weights/{loss}/{place}")
            assert score(f"{loss}/{place}") > 1.3 * score(f"describe/{place}")
            assert found[f"localise/{loss}/{place}/gradient/elsewhere"] < 2
            assert score(f"random_labels/{loss}/{place}") > 2
    assert found["localise/answer/projector/gradient/pointing"] > 0.3


def test_what_cannot_be_mapped_is_refused(folder, tmp_path):
    with pytest.raises(StageError, match="1 pairs about one object"):
        run(folder, tmp_path, items=1)
    model = SimpleNamespace(config=SimpleNamespace(image_seq_length=60))
    with pytest.raises(StageError, match="60 tokens, which make no square"):
        look.square(model, "localise")
