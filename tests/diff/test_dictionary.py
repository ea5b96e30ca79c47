import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from steps.diff import activations, arrows, dictionary
from steps.diff import harvest as harvest_of
from steps.diff.activations import CELLS, TYPES
from steps.diff.sae import fit, saved, topk
from steps.stage import StageError

TOKENS = {"text": 1000, "image": 1200}


def lay(folder, widths=(("residual.1", 24), ("mlp.1", 16)), turned=0.3):
    """A harvest in small: sparse sums of atoms, another mixture in each cell."""
    for kind, n in TOKENS.items():
        names = TYPES[:3] if kind == "image" else TYPES[1:]
        place = torch.arange(n) % 20
        of = [names[0 if p < 12 else 1] if kind == "image" else names[p > 11] for p in place]
        of = [names[2] if p > 16 else name for p, name in zip(place, of, strict=True)]
        index = pd.DataFrame({"sample": torch.arange(n) // 20, "position": place, "token": 1})
        index["item"] = "train-" + (index["sample"] // 2).astype(str)
        index["split"] = pd.Categorical.from_codes(
            (index["sample"] % 5 == 0).astype(int), ["fit", "eval"]
        )
        index["type"] = pd.Categorical(of, list(TYPES))
        index.to_parquet(folder / f"{kind}.parquet")
    for number, (cell, (_, kind)) in enumerate(CELLS.items()):
        state = {}
        for site, d in widths:
            g = torch.Generator().manual_seed(d)
            atoms, away = torch.randn(2, 30, d, generator=g)
            codes = torch.rand(TOKENS[kind], 30, generator=g.manual_seed(d + number + 1))
            codes *= torch.rand(TOKENS[kind], 30, generator=g) < 0.1
            state[site] = (codes @ (atoms + number * turned * away) + 0.1 * number).half()
        (folder / cell).mkdir()
        save_file(state, folder / cell / "00000.safetensors")
    cells = {}
    for cell, (model, kind) in CELLS.items():
        (folder / "base" / model).mkdir(parents=True, exist_ok=True)
        (folder / "base" / model / "model.safetensors").write_text(model)
        digest = activations.weights(folder / "base" / model)
        cells[cell] = {"model": model, "input": kind, "tokens": TOKENS[kind], "hash": digest}
    facts = {"sites": dict(widths), "stored": True, "cells": cells}
    (folder / "activations.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="module")
def harvest(tmp_path_factory):
    return lay(tmp_path_factory.mktemp("harvest"))


@pytest.fixture
def want(params):
    for name, value in {"kind": "topk", "start": {}, "on": "all"}.items():
        setattr(params.diff, name, value)
    return params


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(want, harvest, out):
    out.mkdir()
    return dictionary.run(want, {"harvest": harvest, "base": harvest / "base"}, out)


@pytest.mark.parametrize("kind", ["topk", "batchtopk"])
def test_nine_dictionaries_a_site_that_read_activations_as_they_are(want, harvest, tmp_path, kind):
    want.diff.kind = kind
    metrics = run(want, harvest, tmp_path / "out")
    for site, d in (("residual.1", 24), ("mlp.1", 16)):
        folder = tmp_path / "out" / site
        assert sorted(p.name for p in folder.iterdir()) == sorted(arrows.ARROWS)
        rms = activations.read(harvest, "S", site, rows(harvest, "S")).square().mean().sqrt()
        scale = metrics[f"dictionary/{site}/scale"]
        assert np.log2(scale) % 1 == 0 and 0.7 < scale * float(rms) < 1.42
        for name, (_, cell) in arrows.ARROWS.items():
            one = saved.load(folder / name)
            assert (one.kind, one.k) == (kind, 4)
            assert one.weights["W_enc"].shape == (d, 48)
            assert one.config["metadata"]["scale"] == metrics[f"dictionary/{site}/scale"]
            torch.testing.assert_close(one.weights["W_dec"].norm(dim=1), torch.ones(48))
            held = (activations.index(harvest, cell)["split"] == "eval").to_numpy()
            x = activations.read(harvest, cell, site, held)
            codes = one.codes(x)
            left = (x - one.decode(codes)).square().sum() / (x - x.mean(0)).square().sum()
            of = f"dictionary/{site}/{name}"
            assert metrics[f"{of}/fvu/all"] == pytest.approx(float(left), rel=1e-4)
            assert left < 0.9  # 60 steps: learnt something, in the units of the model
            assert metrics[f"{of}/l0"] == pytest.approx(float((codes > 0).sum(1).float().mean()))
            fires = (codes > 0).any(0)
            assert metrics[f"{of}/dead"] == pytest.approx(float((~fires).float().mean()))
            assert torch.equal(saved.alive(folder / name), fires)
            assert (f"{of}/fvu/image" in metrics) == (cell in "DF")
            assert (f"{of}/fvu/told" in metrics) == (cell in "SM")


def rows(harvest, cell):
    return (activations.index(harvest, cell)["split"] == "fit").to_numpy()


def test_the_gate_compares_each_parent_with_its_null(want, harvest, tmp_path):
    metrics = run(want, harvest, tmp_path / "out")
    gate = json.loads((tmp_path / "out" / "gate.json").read_text())
    assert list(gate) == ["residual.1", "mlp.1"]
    for site, parents in gate.items():
        assert set(parents) == {"S", "D", "M", "DF", "MF"}
        for child in ("D", "M", "DF", "MF"):
            names = (child, arrows.ARROWS[child][0])
            left = [metrics[f"dictionary/{site}/{name}/fvu/all"] for name in names]
            assert parents[child]["lag"] == left[0] - left[1]
            assert parents[child]["followed"] == (left[0] - left[1] <= arrows.FOLLOWED)
        for parent, null in arrows.NULLS.items():
            of = parents[parent]
            assert arrows.ARROWS[null] == (parent, arrows.ARROWS[parent][1])
            one, other = (metrics[f"dictionary/{site}/{n}/fvu/all"] for n in (parent, null))
            assert of["ratio"] == metrics[f"dictionary/{site}/ratio/{parent}"] == other / one
            assert of["converged"] == (other >= 0.9 * one or one - other < arrows.SLIGHT)
            assert metrics[f"dictionary/{site}/converged/{parent}"] == of["converged"]
    assert not gate["residual.1"]["S"]["converged"]  # 60 steps are few


def test_sites_come_out_as_if_alone(want, harvest, tmp_path):
    run(want, harvest, tmp_path / "out")
    alone = tmp_path / "alone"
    alone.mkdir()
    run(want, lay(alone, (("residual.1", 24),)), tmp_path / "other")
    whole, part = (files(tmp_path / name / "residual.1") for name in ("out", "other"))
    assert whole == part


def test_null_and_arrow_differ_in_their_activations_alone(want, harvest, tmp_path, monkeypatch):
    """Give an arrow the activations of its null: the two must come out equal, bit for bit."""
    for name in ("D", "M", "DF", "MF"):
        parent, _ = arrows.ARROWS[name]
        null = arrows.NULLS[parent]
        monkeypatch.setitem(arrows.ARROWS, name, arrows.ARROWS[null])
    run(want, harvest, tmp_path / "out")
    for name in ("D", "M", "DF", "MF"):
        null = arrows.NULLS[arrows.ARROWS[name][0]]
        one, other = (saved.load(tmp_path / "out" / "mlp.1" / n).weights for n in (name, null))
        assert all(torch.equal(one[key], other[key]) for key in one)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("writes", [2, 18])  # of 3 + 8 * 2 checkpoints
def test_a_killed_run_goes_on_bit_for_bit(want, harvest, tmp_path, monkeypatch, writes):
    monkeypatch.setattr(fit, "KEEP_EVERY", 25)
    whole = run(want, harvest, tmp_path / "whole")
    want.run.checkpoints = tmp_path / "kept"
    keep, calls = fit._keep, []

    def die(*args):
        keep(*args)
        calls.append(args)
        if len(calls) == writes:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_keep", die)
        with pytest.raises(Killed):
            run(want, harvest, tmp_path / "killed")
    points, resumed_at = [], []
    monkeypatch.setattr(dictionary.log, "metric", lambda *a: points.append(a))
    monkeypatch.setattr(dictionary.log, "resume", resumed_at.append)
    assert run(want, harvest, tmp_path / "resumed") == whole
    assert files(tmp_path / "resumed") == files(tmp_path / "whole")
    steps = [
        step for name, _, step in points if name.startswith("dictionary/mlp") and "loss" in name
    ]
    total = sum(plan.steps for plan in arrows.plans(want.diff, 0).values())
    assert resumed_at == [steps[0] - 1] and steps == list(range(steps[0], total))
    assert 0 < steps[0]


@pytest.mark.parametrize("on", ["image", "text"])
def test_tokens_that_are_fitted_to(harvest, on):
    index = activations.index(harvest, "D")
    mine = arrows.rows(harvest, "D", on)
    assert mine.any() and set(index["split"][mine]) == {"fit"}
    assert (set(index["type"][mine]) == {"image"}) == (on == "image")
    assert ("image" in set(index["type"][mine])) == (on == "image")
    told = activations.index(harvest, "S")["type"][arrows.rows(harvest, "S", on)]
    # without an image, the scene in words stands for it
    assert set(told) == ({"told"} if on == "image" else {"told", "question", "answer"})


def test_what_cannot_be_fitted_is_named(want, harvest, tmp_path):
    broken = tmp_path / "harvest"
    broken.mkdir()
    lay(broken)
    facts = json.loads((broken / "activations.json").read_text())
    del facts["cells"]["M"]
    (broken / "activations.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="no cell M: harvest the base again"):
        run(want, broken, tmp_path / "a")
    want.diff.start = {"heads.1": "somewhere"}
    with pytest.raises(ValueError, match="diff.start.heads.1: sites .* are residual.1, mlp.1"):
        run(want, harvest, tmp_path / "b")
    want.diff.start, want.diff.k = {}, 48
    with pytest.raises(ValueError, match="diff.k = 48: must be below diff.width = 48"):
        run(want, harvest, tmp_path / "c")


def test_a_dead_dictionary_is_refused(want, harvest, tmp_path, monkeypatch):
    begin = topk.start

    def dead(*args):
        return begin(*args) | {"b_enc": torch.full((48,), -1e6)}

    monkeypatch.setattr(dictionary.topk, "start", dead)
    want.diff.learning_rate = 1e-9
    with pytest.raises(ValueError, match="not one latent of dictionary S at residual.1"):
        run(want, harvest, tmp_path / "out")


def test_s_can_be_taken_up_from_another_dictionary(want, harvest, tmp_path):
    run(want, harvest, tmp_path / "one")
    folder = tmp_path / "one" / "residual.1" / "S"
    want.diff.start, want.diff.learning_rate = {"residual.1": str(folder)}, 1e-12
    run(want, harvest, tmp_path / "two")
    before, after = (
        saved.load(tmp_path / name / "residual.1" / "S").weights for name in ("one", "two")
    )
    for name in before:
        torch.testing.assert_close(before[name], after[name], rtol=1e-4, atol=1e-5)
    want.diff.start = {"mlp.1": str(folder)}
    with pytest.raises(ValueError, match="diff.start.mlp.1 = .*reads 24 numbers, not the 16"):
        run(want, harvest, tmp_path / "three")


def test_a_harvest_without_a_store_gives_the_same_dictionaries(want, base, items, tmp_path):
    """The model is run instead, and its buffer holds all: the same tokens in the same order."""
    made = {}
    for stored in (True, False):
        want.diff.store, folder = stored, tmp_path / str(stored)
        inputs = {"base": base, "items": items, "harvest": folder / "harvest"}
        for name in ("harvest", "dictionary"):
            (folder / name).mkdir(parents=True)
        harvest_of.run(want, inputs, inputs["harvest"])
        assert any(inputs["harvest"].rglob("*.safetensors")) == stored
        dictionary.run(want, inputs, folder / "dictionary")
        made[stored] = saved.load(folder / "dictionary" / "residual.1" / "MF")
    for name, tensor in made[True].weights.items():
        torch.testing.assert_close(tensor, made[False].weights[name], rtol=1e-4, atol=1e-5)


def test_activations_of_another_model_are_refused(want, harvest, tmp_path):
    shutil.copytree(harvest, tmp_path / "harvest")
    (tmp_path / "harvest" / "base" / "instruct" / "model.safetensors").write_text("another")
    with pytest.raises(StageError, match="of another model"):
        run(want, tmp_path / "harvest", tmp_path / "out")
