"""Learning rates: the same grid for every arm, the best by answers, nothing else read."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from steps.manifest import digest
from steps.study import tuning

ROOT = Path(__file__).parents[2]


def study(tmp_path, scores, rates):
    """A results folder with one lenient score an arm."""
    arms = {"none": SimpleNamespace(method="none")}
    for arm, score in scores.items():
        if arm != "none":
            arms[arm] = SimpleNamespace(method="sft")
        folder = tmp_path / "vqa" / "b" / arm / "seed7"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({"vqa/lenient": score}))
    return SimpleNamespace(
        bases={"b": None},
        seeds=[7],
        arms=arms,
        items=SimpleNamespace(tune=10),
        arm_section=lambda arm: SimpleNamespace(learning_rate=rates[arm]) if arm in rates else None,
    )


SCORES = {"none": 0.5, "sft": 0.6, "sft_high": 0.7, "dpo": 0.4, "dpo_high": 0.3, "sft_hot": 0.9}
RATES = {"sft": 1e-4, "sft_high": 1e-3, "dpo": 1e-4, "dpo_high": 1e-3, "sft_hot": 1e-1}


def test_the_best_rate_of_each_arm_is_picked_and_written(tmp_path):
    params = study(tmp_path, SCORES, RATES)
    (tmp_path / "base/b/instruct").mkdir(parents=True)
    (tmp_path / "base/b/instruct/model.safetensors").write_bytes(b"weights")
    text = tuning.write(params, tmp_path, tmp_path / "docs")
    told = json.loads((tmp_path / "docs" / "tuning.json").read_text())
    rows = told["rows"]
    assert told["weights"] == {"b": hashlib.sha256(b"weights").hexdigest()}
    assert 0.1 not in {r["learning_rate"] for r in rows}  # an arm of the user's own is no try
    picked = {r["arm"]: r["learning_rate"] for r in rows if r["picked"]}
    assert picked == {"none": None, "sft": 1e-3, "dpo": 1e-4}
    assert "| b | sft | 0.001 | 0.700 | yes |" in text
    assert (tmp_path / "docs" / "tuning.md").read_text() == text


def test_an_arm_with_a_grid_of_its_own_is_refused(tmp_path):
    params = study(tmp_path, SCORES, {**RATES, "dpo_high": 1e-2})
    with pytest.raises(ValueError, match="give each the same grid"):
        tuning.table(params, tmp_path)


def test_the_committed_rates_are_those_picked_on_the_committed_base():
    from steps.study.plan import plan

    params = plan().params
    told = json.loads((ROOT / "docs" / "tuning.json").read_text())
    assert told["weights"] == {"bundled": digest(tuning.weights_of(ROOT / "models" / "bundled"))}
    picked = {r["arm"]: r["learning_rate"] for r in told["rows"] if r["picked"]}
    assert {arm: r for arm, r in picked.items() if r} == {
        arm: params.arm_section(arm).learning_rate
        for arm, spec in params.arms.items()
        if spec.method != "none" and spec.seeds == "all"  # controls are compared with nothing
    }


def test_the_committed_grid_is_the_same_for_every_arm():
    from steps.study.plan import plan

    params = plan("tuning").params
    grids = {}
    for arm, spec in params.arms.items():
        if spec.method != "none":
            rates = grids.setdefault(arm.partition("_")[0], set())
            rates.add(params.arm_section(arm).learning_rate)
    assert set(grids) == {"continue", "sft", "dpo", "grpo", "anchor"}
    assert len({frozenset(g) for g in grids.values()}) == 1
    assert params.vqa.items == "tune"
    assert not set(params.seeds) & set(plan().params.seeds)
