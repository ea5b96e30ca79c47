"""Arms as a further stage: an unchanged model gives the null, and planted turns are found."""

import copy
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from steps.diff import across, arrows, turned
from steps.diff.planted import plant
from steps.diff.sae import fit, saved, topk
from steps.diff.turning import carry
from steps.diff.turning.site import Site, gate
from steps.models import load
from steps.stage import StageError

RULES = ("beyond", "matched", "paired")


@pytest.fixture
def params(carried):
    return copy.deepcopy(carried[1])


@pytest.fixture
def given(carried):
    return carried[0]


def run(params, given, model, out):
    out.mkdir()
    metrics = turned.run(params, {**given, "model": model}, out)
    again = turned.rescored(params, {}, out, out)
    assert again == {k: v for k, v in metrics.items() if k.split("/")[2] != "moved"}
    return pd.read_parquet(out / "turned.parquet"), metrics


def test_a_model_that_nothing_changed_gives_the_null_bit_for_bit(params, given, tmp_path):
    table, metrics = run(params, given, given["base"] / "instruct", tmp_path / "out")
    assert (table["cosine"] == table["cosine_null"]).all() and (table["excess"] == 0).all()
    assert (table["rate_after"] == table["rate_null"]).all()
    assert not table["paired"].any() and (table["energy_ratio"].fillna(0.5) == 0.5).all()
    for site in gate(given["dictionary"]):
        assert metrics[f"turned/{site}/moved"] == 0
        assert metrics[f"turned/{site}/beyond"] <= 0.05
        assert metrics[f"turned/{site}/angle"] == metrics[f"turned/{site}/angle_null"]
    of = carry.everywhere(given)
    x = carry.activations_of(given["base"] / "instruct", given, of, "F")
    for name, child in carry.on(of, "MF", x, params, "again").items():
        null = of[name].load("F2")
        assert all(torch.equal(child.weights[k], null.weights[k]) for k in null.weights)


def test_a_model_that_moved_turns_features(params, given, tmp_path):
    """The aligned model is another random one: nothing is where it was."""
    table, metrics = run(params, given, given["base"] / "aligned", tmp_path / "out")
    settled = table[table["settled"]]
    for site, rows in table.groupby("site"):
        assert metrics[f"turned/{site}/moved"] > 0.1
        assert metrics[f"turned/{site}/moved/image"] > 0.1
        assert metrics[f"turned/{site}/beyond"] > 0.2 > metrics[f"turned/{site}/beyond_null"]
        assert metrics[f"turned/{site}/settled"] == rows["settled"].sum()
    assert settled["energy_ratio"].between(0, 1).all()
    assert np.isfinite(list(metrics.values())).all()


def test_a_parent_that_had_not_converged_is_refused(params, given, tmp_path):
    again = tmp_path / "dictionary"
    shutil.copytree(given["dictionary"], again)
    verdicts = gate(again)
    site = next(iter(verdicts))
    verdicts[site]["MF"]["converged"] = False
    (again / "gate.json").write_text(json.dumps(verdicts))
    given = {**given, "dictionary": again}
    table, metrics = run(params, given, given["base"] / "aligned", tmp_path / "out")
    mine = table[table["site"] == site]
    angles = mine[["cosine", "cosine_null", "excess"]]
    assert mine["refused"].all() and angles.isna().to_numpy().all()
    assert not mine[["settled", *RULES]].to_numpy().any() and mine["rate_after"].notna().all()
    assert metrics[f"turned/{site}/refused"] == 1
    assert f"turned/{site}/beyond" not in metrics and f"turned/{site}/angle" not in metrics
    assert metrics[f"turned/{site}/moved"] > 0.1  # how far the arm moved needs no dictionary


def test_other_items_than_the_harvests_are_refused(params, given, tmp_path):
    other = tmp_path / "items"
    shutil.copytree(given["items"], other)
    table = pd.read_parquet(other / "train.parquet")
    table.iloc[::-1].to_parquet(other / "train.parquet")
    with pytest.raises(StageError, match="was not harvested from"):
        run(params, {**given, "items": other}, given["base"] / "instruct", tmp_path / "out")


def test_two_runs_and_a_killed_one_give_the_same(params, given, tmp_path, monkeypatch):
    model = tmp_path / "arm"
    vlm = load.vlm(given["base"] / "instruct")
    with torch.no_grad():
        for layer in vlm.get_decoder().layers:
            layer.mlp.down_proj.weight *= 1.1
    shutil.copytree(given["base"] / "instruct", model)
    vlm.save_pretrained(model)
    table, metrics = run(params, given, model, tmp_path / "one")
    params.run.checkpoints = tmp_path / "kept"
    monkeypatch.setattr(fit, "KEEP_EVERY", 10)
    keep = fit._keep

    def die(*args):
        keep(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_keep", die)
        with pytest.raises(KeyboardInterrupt):
            run(params, given, model, tmp_path / "killed")
    again, same = run(params, given, model, tmp_path / "two")
    pd.testing.assert_frame_equal(table, again)
    assert metrics == same


@pytest.mark.slow
def test_a_planted_turn_is_found(params, tmp_path):
    """A tenth of the atoms turned by 45 degrees in the arm, the rest as they were."""
    vars(params.diff).update(width=320, k=8, steps=600, batch=512, learning_rate=4e-3)
    atoms, was_turned, before, after = plant(0, 0.1, (45, 45), tokens=20_000)
    weights = topk.start(before, 320, torch.Generator().manual_seed(0))
    verdict = {"converged": True, "followed": True}
    passed = dict.fromkeys((*arrows.NULLS, "DF"), verdict)
    (tmp_path / "gate.json").write_text(json.dumps({"residual.0": passed}))
    for name in ("S", "M", "MF", "F2"):
        plan = arrows.plans(params.diff, 0)[name]
        one = fit.fit({"at": before}, {"at": weights}, plan)["at"]
        saved.save(tmp_path / "residual.0" / name, saved.scaled(one, 8), notes={"scale": 1.0})
        weights = one.weights
    site = Site({"harvest": tmp_path}, tmp_path / "residual.0")
    index = pd.DataFrame({"sample": np.arange(len(before)) // 20, "type": "question"})
    site.index = lambda cell: index.assign(split="fit")
    site.read = lambda cell: before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrows, "rows", lambda *of, **more: np.ones(len(before), bool))
        child = carry.on({"residual.0": site}, "MF", {"residual.0": after}, params, "arm")
    table = turned.arrow(site, "MF", child["residual.0"], after)
    cosine, which = (site.load("MF").weights["W_dec"] @ atoms.T).max(1)
    atom, truth = (cosine > 0.9).numpy(), was_turned[which].numpy()
    assert (atom & truth).sum() >= 10 and (atom & ~truth).sum() >= 100
    for rule in ("beyond", "paired"):  # among those that fire alike the null is narrower still
        assert table.loc[atom & truth, rule].mean() >= 0.8
        assert table.loc[atom & ~truth, rule].mean() <= 0.03
    assert (table["cosine"] < table["cosine_null"])[atom & truth].all()


def arm(turned_ones, excess, settled=None, site="residual.2", count=200):
    frame = pd.DataFrame({"site": site, "feature": np.arange(count)})
    frame["settled"] = True if settled is None else np.isin(np.arange(count), settled)
    frame["rate"] = np.linspace(0, 1, count)
    frame["excess"] = excess
    for rule in RULES:
        frame[rule] = np.isin(np.arange(count), turned_ones)
    return frame


def test_sets_of_arms_against_each_other_and_chance():
    up = np.arange(200.0)
    tables = {
        "sft": arm(range(40), up),
        "dpo": arm(range(20, 60), up[::-1]),
        "grpo": arm(range(100, 110), up),
        "none": arm([], 0.0),
    }
    found = across.across(tables).set_index(["one", "other"])
    assert len(found) == 6 and (found["common"] == 200).all()
    pair = found.loc["sft", "dpo"]
    assert (pair["turned_one"], pair["turned_other"], pair["both"]) == (40, 40, 20)
    assert pair["jaccard"] == pytest.approx(1 / 3) and pair["chance"] == pytest.approx(8)
    # by tenths of 20: (20, 0), (20, 20), (0, 20): only the second holds both
    assert pair["chance_alike"] == pytest.approx(20)
    assert pair["p"] < 1e-4 and pair["order"] == pytest.approx(-1)
    assert list(pair["only_one"]) == list(range(20))
    assert list(pair["only_other"]) == list(range(40, 60))
    apart = found.loc["sft", "grpo"]
    assert apart["jaccard"] == 0 and apart["p"] == 1 and apart["order"] == pytest.approx(1)
    empty = found.loc["grpo", "none"]
    unknown = empty[["jaccard", "chance", "chance_alike", "p", "order"]].astype(float)
    assert empty["both"] == 0 and np.isnan(unknown).all()


def test_sets_are_of_features_settled_in_both_and_drawn_by_chance_they_agree_by_chance():
    rng = np.random.default_rng(0)
    tables = {
        name: arm(rng.choice(150, 50, replace=False), rng.normal(size=200), range(k, 150 + k))
        for k, name in ((0, "sft"), (10, "grpo"))
    }
    (row,) = across.across(tables).to_dict("records")
    assert row["common"] == 140
    assert abs(row["both"] - row["chance"]) < 12 and row["p"] > 0.001
    assert not set(row["only_one"]) & set(range(10))
    gone = arm([], np.nan, settled=[])  # refused: nothing is settled
    (row,) = across.across({"sft": tables["sft"], "gone": gone}).to_dict("records")
    assert row["common"] == 0 and np.isnan(row["order"]) and np.isnan(row["jaccard"])
