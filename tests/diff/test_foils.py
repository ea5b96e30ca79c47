"""Foils: matched ones are alike and never the chosen; too few of them give no quantile."""

import numpy as np
import pandas as pd
import pytest
import torch

from steps.diff.acts import doses, foils, groups


@pytest.fixture(scope="module")
def seen():
    """Rates over three decades, energies loosely tied to them, every seventh feature dead."""
    rng = np.random.default_rng(0)
    rate = 10 ** rng.uniform(-3, 0, 400)
    firings = np.where(np.arange(400) % 7, np.maximum(rate * 2e4, 12), 3).astype(int)
    energy = rate * 10 ** rng.normal(0, 0.5, 400)
    typical = np.sqrt(energy / rate)
    return foils.Profile(firings, firings / 2e4, energy, typical, torch.ones(3))


def test_matched_foils_are_alike_alive_and_never_the_chosen(seen):
    chosen = [11, 12, 13]
    for feature in chosen:
        near = foils.matched(seen, feature, 40, chosen)
        assert len(near) == len(set(near)) == 40
        assert not set(near) & set(chosen) and seen.alive[near].all()
        table = foils.likeness(seen, {feature: near}).iloc[0]
        rest = foils.likeness(seen, {feature: np.flatnonzero(seen.alive)}).iloc[0]
        for name in ("times_rate", "times_energy"):
            assert 1 <= table[name] < 3 and table[name] < rest[name] / 2
        place = np.log(np.stack([seen.rate, seen.energy]))
        far = np.hypot(*(place - place[:, [feature]]))
        left = np.setdiff1d(np.flatnonzero(seen.alive), [*near, *chosen])
        assert far[near].max() <= far[left].min() and (np.diff(far[near]) >= 0).all()


def test_a_dead_feature_has_no_foils(seen):
    assert len(foils.matched(seen, 7, 40, [])) == 0


def test_quantile_and_p_among_foils():
    values = np.arange(100.0)
    assert foils.quantile(99.5, values) == (1.0, 1 / 101)
    assert foils.quantile(-1, values) == (0.0, 1.0)
    share, p = foils.quantile(50.0, values)
    assert share == pytest.approx(0.505) and p == pytest.approx(51 / 101)


def test_too_few_foils_give_no_quantile():
    assert np.isnan(foils.quantile(1.0, np.zeros(foils.FEWEST - 1))).all()
    assert np.isfinite(foils.quantile(1.0, np.zeros(foils.FEWEST))).all()


def test_too_few_foils_leave_an_entry_without_quantile():
    curves = {(f, "left"): np.outer([-1.0, 0, 1], np.ones(20)) for f in (0, 1, 2)}
    chosen = pd.DataFrame({"feature": [0], "relation": ["left"]})
    counts = np.ones((50, 20))
    given = np.array([-1.0, 0, 1])
    kind = np.array(["left", "right"] * 10)
    row = doses.responses(chosen, [1, 2], given, curves, kind, counts).iloc[0]
    assert row["slope"] == pytest.approx(1) and row["foils"] == 2 and np.isnan(row["quantile"])


def test_amplifying_and_removing_that_both_hurt_are_told():
    """The response bends down on either side: nothing to be said for the direction's sign."""
    given = np.array([-2.0, -1, 0, 1, 2])
    curves = {(0, "left"): np.outer(-np.abs(given), np.ones(20)) + 0.01 * np.eye(5, 20)}
    chosen = pd.DataFrame({"feature": [0], "relation": ["left"]})
    kind = np.array(["left", "right"] * 10)
    row = doses.responses(chosen, [], given, curves, kind, np.ones((50, 20))).iloc[0]
    assert row["hurts_both"] and row["up"] == 0.5 and abs(row["slope"]) < 0.01


def test_slopes_are_least_squares():
    rng = np.random.default_rng(1)
    given, curve = np.array([-2.0, 0, 1, 5]), rng.normal(size=(4, 7))
    want = np.polyfit(given, curve, 1)[0]
    assert np.allclose(doses.slopes(given, curve), want)


def test_groups_of_foils_hold_each_foil_once_and_no_member(seen):
    members = [11, 12, 13, 15]
    near = [foils.matched(seen, f, 10, members) for f in members]
    drawn = foils.group(near, 30, np.random.default_rng(0))
    assert len(drawn) == 30
    for one in drawn:
        assert len(set(one)) == 4 and not set(one) & set(members)
        assert all(f in pool for f, pool in zip(one, near, strict=True))
    assert foils.group([np.array([1]), np.array([1])], 5, np.random.default_rng(0)) == []


def test_a_group_larger_than_the_ranking_is_not_planned(seen):
    decoder = torch.randn(400, 12, generator=torch.Generator().manual_seed(0))
    plan = groups.planned([11, 12], [1, 2, 3], seen, decoder, 0)
    assert {edit.amount for edit in plan} == {1.0, 2.0}
    assert len(plan) == 2 * 2 * (1 + groups.DRAWS)


def test_ranking_puts_selected_then_adapted_then_clearest_first():
    spatial = pd.DataFrame(
        [
            ("residual.1", 1, "left", False, 0.9),
            ("residual.1", 2, "left", True, 0.7),
            ("residual.1", 2, "above", True, 0.8),
            ("residual.1", 3, "right", True, 0.75),
            ("residual.1", 4, "horizontal", True, 0.99),
            ("residual.1", 5, "left", True, np.nan),
            ("residual.0", 6, "left", True, 0.9),
        ],
        columns=["site", "feature", "relation", "selected", "auroc_select"],
    )
    turned = pd.DataFrame({"site": "residual.1", "feature": [1, 2, 3]})
    turned["beyond_x"], turned["beyond_y"] = [False, False, False], [False, False, True]
    found = foils.ranking(spatial, turned, "residual.1")
    assert found["feature"].tolist() == [3, 2, 1]
    assert found["relation"].tolist() == ["right", "above", "left"]
    assert found["adapted"].tolist() == [1, 0, 0]
    unknown = foils.ranking(spatial, turned[["site", "feature"]], "residual.1")
    assert unknown["adapted"].isna().all() and unknown["feature"].tolist() == [2, 3, 1]
