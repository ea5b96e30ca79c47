"""Credit rules against each other: paired over seeds, corrected, and only where premises hold."""

from types import SimpleNamespace

import pytest

from steps.schema import Arm
from steps.study import contrasts, credit
from steps.study.collect import Found

RULES = {
    "plain": {},
    "anchor": {"credit": "anchor"},
    "random": {"credit": "random"},
    "oracle": {"credit": "oracle"},
    "soft": {"credit": "anchor", "weight": "density"},
    "dealt": {"credit": "shuffled", "weight": "density"},
    "coin": {"reward": "random"},
}
GAIN = {"plain": 12, "anchor": 9, "random": 4, "oracle": 15, "soft": 12, "dealt": 12, "coin": 0}


@pytest.fixture
def study():
    """Eight seeds; an arm's reward rises by its gain in a straight line; seeds differ a little."""
    arms = {"none": Arm(method="none")}
    arms |= {name: Arm(method="grpo", **own) for name, own in RULES.items()}
    params = SimpleNamespace(
        arms=arms, seeds=list(range(8)), report=SimpleNamespace(confidence=0.95)
    )
    found, curves = Found(), {}
    for arm, gain in GAIN.items():
        curves[arm] = {"reward": {}}
        for seed in params.seeds:
            own = 0.4 + 0.01 * seed + 0.001 * ((seed * 7 + gain) % 5)
            line = [[step, own + gain / 100 * (step - 1) / 8] for step in range(1, 11)]
            curves[arm]["reward"][seed] = line
            found.metrics["vqa", "b", arm, seed] = {"vqa/lenient": line[-1][1]}
    return found, curves, params


def find(told, one, other, measure="lenient"):
    return next(
        r for r in told["rows"] if (r["one"], r["other"], r["measure"]) == (one, other, measure)
    )


def test_arms_are_known_by_their_credit(study):
    found, curves, params = study
    told = contrasts.told(found, curves, params, "b")
    assert told["arms"]["uniform"] == "plain" and told["arms"]["anchor/density"] == "soft"
    assert told["arms"]["coin"] == "coin"
    row = find(told, "anchor", "random")
    assert row["mean"] == pytest.approx(100 * (0.09 - 0.04) * 9 / 8, abs=0.3) and row["n"] == 8
    assert row["low"] > 0 and row["holm"] >= row["p"]
    assert find(told, "anchor/density", "shuffled/density")["p"] > 0.05
    coins = [r for r in told["rows"] if "coin" in (r["one"], r["other"])]
    assert {r["measure"] for r in coins} == {"lenient"}, "a coin's own reward is no measure"
    premises = told["premises"]
    assert [p["met"] for p in premises] == [True, True] and told["informative"]


def test_a_study_whose_reward_does_not_rise_is_uninformative(study):
    found, curves, params = study
    for line in curves["plain"]["reward"].values():
        for point in line:
            point[1] = 0.4
    told = contrasts.told(found, curves, params, "b")
    assert not told["informative"]
    text = credit.markdown(told)
    assert credit.UNINFORMATIVE in text and "anchor" in text
    page = credit.section({"credit": {"b": told}}, "b", {})
    assert credit.UNINFORMATIVE in page


def test_without_rules_there_is_nothing_to_tell(study):
    found, curves, params = study
    params.arms = {k: v for k, v in params.arms.items() if k in ("none", "plain", "coin")}
    assert contrasts.told(found, curves, params, "b") == {}
    assert "No two arms" in credit.section({"credit": {"b": {}}}, "b", {})


def test_holm_against_statsmodels_rule_by_hand():
    assert contrasts.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert contrasts.holm([0.9, 0.5]) == pytest.approx([1.0, 1.0])
    assert contrasts.holm([]) == []
