"""Which features are asked about, who leads, concentration and agreement: by hand, and planted."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps.diff.drivers import concentration, evidence, targets
from steps.diff.drivers.driving import Driven
from steps.diff.drivers.patching import Drives
from steps.diff.drivers.targets import MARGIN, Target


def spatial(**more):
    rows = {
        "site": ["residual.1"] * 5 + ["residual.0"],
        "feature": [0, 0, 1, 2, 3, 4],
        "relation": ["left", "right", "above", "left", "color", "below"],
        "selected": [True, True, False, True, True, False],
        "auroc_select": [0.7, 0.9, 0.95, 0.8, 0.99, np.nan],
    }
    return pd.DataFrame(rows | more)


def test_selected_features_come_first_and_once():
    found, selected = targets.choose(spatial(), 9)
    assert selected and found["feature"].tolist() == [0, 2]
    assert found["relation"].tolist() == ["right", "left"]
    assert len(targets.choose(spatial(), 1)[0]) == 1


def test_without_any_selected_the_best_stand_in():
    found, selected = targets.choose(spatial(selected=False), 2)
    assert not selected and found["feature"].tolist() == [1, 0]
    assert targets.choose(spatial(relation="color"), 2)[0].empty


def test_companions_fire_about_as_often_and_live():
    rate = np.linspace(0, 0.5, 101)
    picked = pd.DataFrame(
        {"site": "residual.1", "feature": [10, 11, 90], "relation": ["left", "right", "below"]}
    )
    for seed in range(5):
        rng = np.random.default_rng(seed)
        found = targets.companions(picked, {"residual.1": rate}, rng)
        assert found["relation"].tolist() == picked["relation"].tolist()
        assert not set(found["feature"]) & set(picked["feature"])
        assert found["feature"].is_unique and (rate[found["feature"]] > 0).all()
        assert (np.abs(found["feature"] - picked["feature"]) <= 12).all()
    few = targets.companions(picked, {"residual.1": rate * (np.arange(101) < 12)}, rng)
    assert len(few) == 3


def test_rates_are_of_question_tokens(vlm):
    from steps.diff import reading

    model, processor = vlm
    some = reading.asked(processor, 64, ["is it red ?"], images=np.zeros((1, 64, 64, 3), np.uint8))
    codes = SimpleNamespace(codes=lambda x: torch.arange(len(x))[:, None] % torch.tensor([1, 2, 3]))
    found = targets.rates(model, processor, some, {"residual.1": codes}, 4)["residual.1"]
    assert found.tolist() == [0, 0.5, 4 / 6]  # six tokens, with `assistant :`


def test_gini_and_lorenz_by_hand():
    assert concentration.gini(np.array([1, -1, 1, 1])) == pytest.approx(0)
    assert concentration.gini(np.array([0, 0, 0, -5])) == pytest.approx(0.75)
    assert concentration.gini(np.array([3, 0, -1, 0])) == pytest.approx(0.625)
    assert concentration.gini(np.zeros(3)) == 0
    assert concentration.lorenz(np.array([1, -3, 0, 0])).tolist() == [0, 0.75, 1, 1, 1]
    assert [concentration.few(0.05, n) for n in (3, 20, 21, 1024)] == [1, 1, 2, 52]
    assert concentration.held(np.array([1, -3, 4]), np.array([0, -9, 1]), 1) == 3 / 8


def test_agreement_by_hand():
    one = np.array([1.0, 2, 3, -4])
    assert concentration.agreement(one, 10 * one) == {"spearman": 1, "sign": 1, "top": 1}
    found = concentration.agreement(one, np.array([1.0, 2, 3, 4]))
    assert found["sign"] == 0.75 and found["spearman"] < 0 and found["top"] == 1
    assert concentration.agreement(one, -one[::-1])["top"] == 0
    assert np.isnan(concentration.spearman(one, np.ones(4)))


def test_intervals_are_of_scenes_and_leave_out_what_is_unknown():
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(1, 1, 400), np.full(400, np.nan)], 1)
    values[:200, 0] = np.nan
    low, high = concentration.interval(values, rng)
    assert low[0] < np.nanmean(values[:, 0]) < high[0]
    assert high[0] - low[0] == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.2)
    assert np.isnan([low[1], high[1]]).all()


def driven(rng, scenes=200):
    """Two targets: head (1, 2) drives both, and (0, 1) the answer on one half alone."""
    row = torch.ones(2)
    aims = [MARGIN, Target("chosen", "residual.0", 0, "left", row, row)]
    aims += [Target("random", "residual.1", 1, "left", row, row)]
    halves = []
    for half in range(2):
        drive = rng.normal(0, 0.1, (3, scenes, 2, 2, 4))
        drive[:, :, :, 1, 2] += [[[1.0]], [[0.0]], [[0.0]]]
        drive[0, :, 1, 0, 1] += 0 if half else 5
        drive[1, :, 0, 0, 3] += 2
        drive[1, :, :, 1] = np.nan
        ends = [rng.normal(level, 0.1, (3, scenes)) for level in (1, 0)]
        halves.append(Drives(*ends, drive))
    table = pd.DataFrame({"relation": ["left", "right"] * (scenes // 2)})
    return Driven(aims, *halves, np.array([1.0, 2.0, 1.0]), table)


def test_heads_lead_by_one_half_and_are_reported_by_the_other():
    rng = np.random.default_rng(0)
    some = driven(rng)
    assert some.leaders("margin", 0.25) == [(0, 1), (1, 2)]
    assert some.leaders("chosen", 0.25) == [(0, 3)]
    found = evidence.concentrated(some, 0.05, rng)
    # The head that led on the other half does nothing here, so a twentieth of heads holds little.
    assert found["few/margin"] < 0.05 < found["few/features"] - 0.8
    assert found["few/margin/even"] == 1 / 8 and found["few/features/even"] == 1 / 4
    assert found["selectivity/margin"] == pytest.approx(1, abs=0.05)
    assert found["selectivity/margin/low"] < 1.05 and found["selectivity/margin/high"] > 0.95
    assert abs(found["selectivity/features"]) < 0.05  # both relations pull the same way: no side
    assert found["gini/more"] > 0 and found["depth/margin"] == pytest.approx(1, abs=0.1)
    assert found["halves/features"] > 0.5


def test_patching_is_of_the_strongest_and_some_others():
    rng = np.random.default_rng(0)
    some = driven(rng)
    assert len(some.worth(8, 3, rng)) == 8
    few = some.worth(3, 2, rng)
    assert len(set(few)) == 5 and {(0, 1), (1, 2), (0, 3)} <= set(few)
    some.patched(few, np.full((3, 200, 5), 2.0))
    assert np.isnan(some.exact[0, 0]).sum() == 3 and some.exact[1, 0, 0, 3] == 1  # in its units
    assert some.best() is some.drive
    known = {"agreement/margin/sign", "agreement/features/sign", "agreement/all/sign"}
    assert known <= set(evidence.agreements(some, rng))


def test_misses_of_attribution_are_flagged():
    rng = np.random.default_rng(0)
    some = driven(rng)
    exact = some.drive.copy()
    exact[0, :, 0, 0] += 3  # heard by patching, unseen by gradients
    which = [(layer, head) for layer in range(2) for head in range(4)]
    drives = exact.reshape(3, 200, 8) * some.scale[:, None, None]
    some.patched(which, drives)
    assert np.array_equal(some.best(), exact, equal_nan=True)
    paid, wrote = np.zeros((200, 2, 4, 3)), np.zeros((3, 200, 2, 4))
    table = some.table(paid, wrote, rng)
    assert len(table) == 8 + 4 + 8 and table["exact"].notna().all()
    assert table.loc[table["missed"], ["kind", "layer", "head"]].values.tolist() == [
        ["margin", 0, 0]
    ]
    assert (table["attribution_low"] <= table["attribution"]).all()
    same = evidence.agreements(some, rng)
    assert same["agreement/features/spearman"] == 1 > same["agreement/margin/spearman"]


def test_leading_heads_stand_against_others_of_their_layer():
    values = np.arange(16.0).reshape(2, 2, 4)
    mine, others = evidence.beside(values, [(0, 0), (1, 3)])
    assert mine.tolist() == [3.5, 11.5] and others.tolist() == [3.5, 11.5]
    none, _ = evidence.beside(values, [(0, head) for head in range(4)])
    assert np.isnan(none).all()
    assert evidence.against("x", none, none, np.random.default_rng(0)) == {}
