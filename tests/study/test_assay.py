"""Controls of known effect: seen beyond seeds' noise, or the instrument is called blind."""

from types import SimpleNamespace

import pytest

from steps.schema import Arm
from steps.study import assay
from steps.study.tables import everywhere

ARMS = {
    "none": Arm(method="none"),
    "sft": Arm(method="sft"),
    "dpo": Arm(method="dpo"),
    "sighted": Arm(method="sft", seeds=1, patch_loss=1.0),
    "frozen_eye": Arm(method="sft", seeds=1, parts=["language"]),
}


def params(arms=ARMS, seeds=(0, 1, 2)):
    report = SimpleNamespace(confidence=0.95)
    return SimpleNamespace(arms=arms, seeds=list(seeds), report=report)


def groups(sighted, inner=False):
    """One row: sft spreads around the base with a standard deviation of 1, dpo of 3."""
    seeds = {
        "none": {0: 50.0, 1: 51.0, 2: 52.0},
        "sft": {0: 49.0, 1: 51.0, 2: 53.0},
        "dpo": {0: 47.0, 1: 51.0, 2: 55.0},
        "sighted": {0: sighted},
        "frozen_eye": {0: 50.0},
    }
    arms = {arm: {"seeds": of} for arm, of in seeds.items()}
    return [{"rows": [{"metric": "m", "label": "eye", "inner": inner, "arms": arms}]}]


def test_a_control_is_measured_by_the_noise_of_seeds():
    (row,) = assay.told(groups(66.0), params())
    # pooled variance (1 + 9) / 2 with 4 degrees of freedom, of which t(.975) is 2.776
    assert row["limit"] == pytest.approx(2.7764 * 5**0.5, rel=1e-4)
    assert row["arms"]["sighted"] == {"difference": 16.0, "seen": True}
    assert row["arms"]["frozen_eye"] == {"difference": 0.0, "seen": False}
    assert assay.blind([row], params()) == []


def test_an_instrument_that_misses_the_sighted_arm_is_named():
    rows = assay.told(groups(54.0), params())
    assert assay.blind(rows, params()) == ["eye"]


def test_without_noise_or_controls_nothing_is_said():
    arms = {name: arm for name, arm in ARMS.items() if arm.seeds == "all"}
    assert everywhere(params()) == list(arms)
    assert assay.told(groups(66.0), params(arms)) == []
    assert assay.told(groups(66.0, inner=True), params()) == []
