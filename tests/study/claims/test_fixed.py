"""Claims about a benchmark: units and questions are crossed."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps.schema import Base
from steps.study.claims import decide, fixed, judge
from steps.study.claims.registry import Claim, Paper, parsed
from steps.study.collect import Found

EFFECT = "dpo:benchmarks/pope/lenient - sft:benchmarks/pope/lenient"
TRUE = 5.0
"""Points that are planted."""


def differences(rng, layout, questions=200, by_seed=1.0, by_question=40.0, rest=55.0):
    """In points, [seeds, questions] for each base, of a true mean of TRUE."""
    liked = by_question * rng.standard_normal(questions)
    return {
        str(base): TRUE
        + by_seed * rng.standard_normal((seeds, 1))
        + liked
        + rest * rng.standard_normal((seeds, questions))
        for base, seeds in enumerate(layout)
    }


@pytest.mark.parametrize("layout", [(6,), (4, 4, 4), (2, 2, 2), (8, 2)])
@pytest.mark.parametrize("spread", [(1.0, 40.0, 55.0), (4.0, 10.0, 30.0), (0.0, 0.0, 50.0)])
def test_nineteen_of_twenty_intervals_hold_what_was_planted(layout, spread):
    rng, draws = np.random.default_rng(0), 600
    held = alone = 0
    for _ in range(draws):
        parts = differences(rng, layout, 200, *spread)
        low, high = fixed.over_both(parts).interval(0.95)
        held += low <= TRUE <= high
        units = decide.estimate({base: part.mean(1).tolist() for base, part in parts.items()})
        low, high = units.interval(0.95)
        alone += low <= TRUE <= high
    assert 0.925 <= held / draws <= 0.99
    if spread[1] > spread[2] / 2:  # questions that like an arm: units alone do not know
        assert alone / draws < 0.85


def test_its_mean_is_that_of_the_units_and_one_seed_a_base_tells_no_error():
    parts = differences(np.random.default_rng(1), (3, 5))
    units = decide.estimate({base: part.mean(1).tolist() for base, part in parts.items()})
    assert fixed.over_both(parts).mean == pytest.approx(units.mean)
    alone = differences(np.random.default_rng(1), (1, 1, 1, 1, 1, 1))
    assert (fixed.over_both(alone).error, fixed.over_both(alone).n) == (None, 6)


PARAMS = SimpleNamespace(
    bases={"a": Base(source="bundled"), "b": Base(source="bundled")},
    seeds=[0, 1, 2],
    arms=["none", "dpo", "sft"],
    data=SimpleNamespace(source="files"),
)


@pytest.fixture
def found(tmp_path):
    """Answers of two arms on two bases of three seeds to 300 questions; dpo is better."""
    rng, found = np.random.default_rng(2), Found()
    liking = 0.1 + 0.3 * rng.choice([-1, 1], 300)
    for base in PARAMS.bases:
        for seed in PARAMS.seeds:
            for arm, more in (("sft", 0.0), ("dpo", liking)):
                right = (rng.random(300) < 0.5 + more).astype(float)
                place = tmp_path / base / arm / str(seed)
                place.mkdir(parents=True)
                told = {"instrument": "benchmarks/pope", "item": range(300), "lenient": right}
                pd.DataFrame(told).to_parquet(place / "items.parquet", index=False)
                where = ("logged", base, arm, seed)
                found.folders[where] = place
                found.metrics[where] = {"benchmarks/pope/lenient": float(right.mean())}
    return found


def row(found, **more):
    claim = Claim(says="a statement", source="here", published="", effect=EFFECT, **more)
    paper = Paper(name="P", source="s", arms=["dpo", "sft"], claims={"E": claim})
    told = judge.told(found, PARAMS, {"p": paper})["rows"][0]
    json.dumps(told, allow_nan=False)
    return told


def test_a_claim_about_a_benchmark_is_judged_over_units_and_questions(found):
    told = row(found)
    over_units = decide.estimate({b: [v for _, v in of] for b, of in told["units"].items()})
    assert told["estimate"]["mean"] == pytest.approx(over_units.mean)
    assert told["estimate"]["error"] > 1.5 * over_units.error
    assert told["flipped"] is None and told["enough"] is None
    control = row(found, controls={"same": EFFECT})["controls"]["same"]
    assert control["explains"] and control["rest"]["mean"] == pytest.approx(0.0)


def test_answers_read_from_an_export_do_as_well(found):
    wanted = row(found)["estimate"]
    for where, place in found.folders.items():
        found.items[where] = (place / "items.parquet").read_bytes()
    found.folders.clear()
    assert row(found)["estimate"] == wanted


def test_without_the_answers_nothing_is_decided(found):
    (found.folders["logged", "a", "dpo", 1] / "items.parquet").unlink()
    told = row(found)
    assert told["verdict"] == "inconclusive" and told["estimate"]["error"] is None


@pytest.mark.parametrize(
    "effect",
    [
        "dpo:vqa/lenient - sft:vqa/lenient",
        "dpo:benchmarks/pope/f1 - sft:benchmarks/pope/f1",
        "dpo:benchmarks/pope/lenient - 0.5",
        "dpo:benchmarks/pope/lenient - sft:benchmarks/gqa/lenient",
    ],
)
def test_other_effects_are_none_of_its(effect):
    assert fixed.about(parsed(effect)) is None
