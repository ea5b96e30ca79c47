import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from steps.diff import activations, dictionary, hooks, quality, reading
from steps.diff.activations import CELLS, TYPES
from steps.diff.sae import saved, splice
from steps.models import load

SITE = "residual.1"


@pytest.fixture(scope="module")
def world(base, tmp_path_factory):
    """Items whose scenes are told in words, their harvest at one site, and what each sample is."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    n = 60
    answers = rng.choice(["red", "green", "blue"], n)
    table = pd.DataFrame({"item": [f"train-{i}" for i in range(n)], "image": np.arange(n) // 2})
    table["prompt"] = ["what color is it ?", "the ball is what color ?"] * (n // 2)
    table["response"] = [f"answer : {a} ." if len(a) > 3 else a for a in answers]
    table["truth"] = json.dumps({"things": [["red ball", "it"]]})
    table.to_parquet(folder / "train.parquet")
    images = rng.integers(0, 256, (n // 2, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "train_images.npy", images)
    out = tmp_path_factory.mktemp("harvest")
    processor = load.processor(base / "instruct")
    items = quality._Items(table, images[table["image"]])
    cells = {}
    for cell, (name, kind) in CELLS.items():
        model = load.vlm(base / name)
        some = quality._asked(model, processor, items, kind)
        parts = list(reading.read(model, processor, some, [SITE]))
        x = torch.cat([part.seen[SITE][part.types >= 0] for part in parts])
        sample, place = (some.types >= 0).nonzero(as_tuple=True)
        index = pd.DataFrame({"sample": sample, "position": place, "token": 0})
        index["item"] = table["item"].to_numpy()[sample]
        held = (sample % 4 == 0).int().numpy()
        index["split"] = pd.Categorical.from_codes(held, ["fit", "eval"])
        codes = some.types[some.types >= 0].numpy()
        index["type"] = pd.Categorical.from_codes(codes, list(TYPES))
        index.to_parquet(out / f"{kind}.parquet")
        (out / cell).mkdir()
        save_file({SITE: x}, out / cell / "00000.safetensors")
        cells[cell] = {"model": name, "input": kind, "tokens": len(x)}
        cells[cell]["hash"] = activations.weights(base / name)
    facts = {"sites": {SITE: x.shape[1]}, "stored": True, "cells": cells}
    (out / "activations.json").write_text(json.dumps(facts))
    return {"base": base, "items": folder, "harvest": out}


@pytest.fixture(scope="module")
def want():
    run = SimpleNamespace(seed=0, threads=1, checkpoints=None)
    diff = SimpleNamespace(kind="topk", start={}, on="all", width=48, k=4, steps=150, batch=128)
    diff.learning_rate = 3e-3
    return SimpleNamespace(run=run, diff=diff)


@pytest.fixture(scope="module")
def measured(want, world, tmp_path_factory):
    fitted, out = (tmp_path_factory.mktemp(name) for name in ("dictionary", "quality"))
    dictionary.run(want, world, fitted)
    inputs = world | {"dictionary": fitted}
    return quality.run(want, inputs, out), inputs, out


def test_dictionaries_are_judged_on_their_cells_and_on_others(want, measured):
    metrics, inputs, out = measured
    assert all(np.isfinite(value) for value in metrics.values())
    table = pd.read_parquet(out / "quality.parquet")
    columns = ["site", "dictionary", "cell", "tokens", "measure", "value", "low", "high"]
    assert list(table.columns) == columns
    for cell, names in quality.READ_BY.items():
        x = activations.read(inputs["harvest"], cell, SITE)
        index = activations.index(inputs["harvest"], cell)
        held = index["split"] == "eval"
        for name in names:
            one = saved.load(inputs["dictionary"] / SITE / name)
            for kind in ("all", "question"):
                mine = held if kind == "all" else held & (index["type"] == kind)
                some = x[torch.tensor(mine.to_numpy())]
                left = (some - one.decode(one.codes(some))).double().square().sum()
                expected = left / (some.double() - some.double().mean(0)).square().sum()
                found = metrics[f"quality/{SITE}/fvu/{name}/{cell}/{kind}"]
                assert found == pytest.approx(float(expected), rel=1e-4)
    of = f"quality/{SITE}/fvu"
    assert f"{of}/S/S/image" not in metrics and f"{of}/S/D/image" in metrics
    assert metrics[f"{of}/S/D/all"] > metrics[f"{of}/D/D/all"]  # it never saw an image
    assert metrics[f"{of}/D/F/all"] > metrics[f"{of}/DF/F/all"]
    warm = metrics[f"{of}/MF/F/all"] / metrics[f"{of}/random/F/all"]
    assert metrics[f"quality/{SITE}/warm_ratio"] == pytest.approx(warm)
    spliced = table[table["measure"] == "right"]
    assert (spliced["low"] <= spliced["value"]).all() and (
        spliced["value"] <= spliced["high"]
    ).all()


def test_two_runs_give_the_same_table(want, measured, tmp_path):
    metrics, inputs, out = measured
    again = tmp_path / "again"
    again.mkdir()
    assert quality.run(want, inputs, again) == metrics
    assert (again / "quality.parquet").read_bytes() == (out / "quality.parquet").read_bytes()


@pytest.fixture
def reader(world):
    model = load.vlm(world["base"] / "instruct")
    processor = load.processor(world["base"] / "instruct")
    items = quality._items(world["items"], world["harvest"])
    assert len(items.table) == 15  # those held out
    return splice.Reader(model, processor, quality._asked(model, processor, items, "image"))


def test_the_loss_is_that_of_a_plain_pass(reader):
    some, model = reader.some, reader.model
    pixels = load.reader(load.processor(model.name_or_path).image_processor)
    for i in range(3):
        ids, mask = some.ids[i : i + 1], some.mask[i : i + 1]
        ids = ids[:, mask[0].bool()]  # alone, without padding
        with torch.no_grad():
            logits = model(input_ids=ids, pixel_values=pixels(some.images[i : i + 1])).logits[0]
        count = int((some.types[i] == reading.ANSWER).sum())
        logp = logits.log_softmax(-1)[-count - 1 : -1]
        told = ids[0, -count:]
        expected = -logp.gather(1, told[:, None]).mean()
        assert reader.clean.loss[i] == pytest.approx(float(expected), abs=1e-4)
        assert reader.clean.right[i] == (logp[0].argmax() == told[0])


def test_a_splice_of_the_same_does_nothing_and_an_ablation_does(reader):
    every = [0, 1, 2, 3]
    same = reader.answers({SITE: (lambda x: x, every)})
    np.testing.assert_allclose(same.loss, reader.clean.loss, atol=1e-6)
    assert np.abs(same.kl).max() < 1e-6
    zero = reader.answers({SITE: (torch.zeros_like, every)})
    assert (zero.kl > 1e-3).all() and np.abs(zero.loss - reader.clean.loss).max() > 1e-2
    # only tokens of the types asked for: behind the last layer others cannot tell
    last = f"residual.{len(hooks.decoder_layers(reader.model)) - 1}"
    image = reader.answers({last: (torch.zeros_like, [reading.IMAGE])})
    np.testing.assert_allclose(image.loss, reader.clean.loss, atol=1e-6)
    text = reader.answers({last: (torch.zeros_like, [1, 2, 3])})
    assert np.abs(text.loss - reader.clean.loss).max() > 1e-2


def test_recovered_is_one_without_harm_and_zero_at_the_ablation():
    dice = np.random.default_rng(0)
    clean, ablated = dice.normal(1, 0.1, 200), dice.normal(3, 0.1, 200)
    for spliced, expected in ((clean, 1.0), (ablated, 0.0), ((clean + ablated) / 2, 0.5)):
        found = splice.recovered(clean, ablated, spliced, dice)
        assert found == pytest.approx((expected,) * 3, abs=1e-9)
    noisy = clean + dice.normal(0.5, 0.5, 200)
    value, low, high = splice.recovered(clean, ablated, noisy, dice)
    assert low < value < high and low < 0.75 < high
    assert splice.recovered(clean, clean + 1e-3, clean, dice) is None


def test_too_few_samples_give_no_splice(want, measured, tmp_path, monkeypatch):
    _, inputs, _ = measured
    monkeypatch.setattr(quality, "LEAST", 16)
    found = quality.run(want, inputs, tmp_path)
    assert {name.split("/")[2] for name in found} == {"fvu", "warm_ratio", "warm_ratio_fast"}


def test_missing_items_are_named(want, world, measured, tmp_path):
    _, inputs, _ = measured
    items = pd.read_parquet(world["items"] / "train.parquet")
    fewer = tmp_path / "items"
    fewer.mkdir()
    items[1:].to_parquet(fewer / "train.parquet")
    with pytest.raises(ValueError, match="has the item train-0, which"):
        quality.run(want, inputs | {"items": fewer}, tmp_path)
