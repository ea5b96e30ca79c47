"""Intervals over seeds and questions at once: their coverage, by simulation."""

import numpy as np
import pandas as pd
import pytest

from steps.study import crossed
from steps.study.collect import Found


def drawn(rng, seeds, questions, by_seed, by_question, rest):
    """Differences of a true mean of 0: an effect of the seed, one of the question, and noise."""
    return (
        by_seed * rng.standard_normal((seeds, 1))
        + by_question * rng.standard_normal((1, questions))
        + rest * rng.standard_normal((seeds, questions))
    )


@pytest.mark.parametrize("seeds", [3, 5, 8])
@pytest.mark.parametrize("spread", [(0.01, 0.4, 0.3), (0.03, 0.2, 0.4), (0.0, 0.4, 0.2)])
def test_nineteen_of_twenty_intervals_hold_the_truth(seeds, spread, monkeypatch):
    """Right answers: a model's differ from another's on some of 300 questions, and by seed."""
    monkeypatch.setattr(crossed, "DRAWS", 200)
    rng = np.random.default_rng(seeds)
    held = 0
    for k in range(200):
        found = crossed.interval(drawn(rng, seeds, 300, *spread), 0.95, k)
        held += found.low <= 0 <= found.high
    assert 0.92 <= held / 200 <= 0.995


def test_seeds_alone_hold_it_less_often():
    """What makes it needed: t over seeds, which all answer the same questions."""
    from steps.study import stats

    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        found = stats.paired(list(drawn(rng, 5, 300, 0.01, 0.4, 0.2).mean(1)), 0.95)
        held += found.low <= 0 <= found.high
    assert held / 200 < 0.8


def test_one_seed_says_nothing_of_others():
    found = crossed.interval(np.ones((1, 10)), 0.95)
    assert (found.mean, found.low, found.n) == (1.0, None, 1)


def test_a_benchmarks_differences_are_over_its_questions(tmp_path):
    """Where every seed's answers differ on the same questions, their number is what counts."""
    rng, found, arms = np.random.default_rng(0), Found(), {}
    right = rng.random(200) < 0.5
    gained = right | (rng.random(200) < 0.1)
    for arm, answers in (("none", right), ("dpo", gained)):
        for seed in (0, 1, 2):
            folder = tmp_path / arm / str(seed)
            folder.mkdir(parents=True)
            order = rng.permutation(200)  # by item, whatever the order in the file
            rows = {"instrument": "benchmarks/pope", "item": order, "lenient": answers[order]}
            pd.DataFrame(rows).to_parquet(folder / "items.parquet")
            found.folders["logged", "bundled", arm, seed] = folder
        arms[arm] = {"seeds": dict.fromkeys((0, 1, 2), 100 * answers.mean())}
    arms["dpo"]["minus_none"] = {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 3}
    crossed.widen(found, "bundled", "benchmarks/pope/lenient", arms, 0.95)
    told = arms["dpo"]["minus_none"]
    share = (gained & ~right).mean()
    half = 1.96 * 100 * np.sqrt(share * (1 - share) / 200)
    assert told["mean"] == pytest.approx(100 * share)
    assert told["high"] - told["mean"] == pytest.approx(half, rel=0.1)
    before = dict(told)
    crossed.widen(found, "bundled", "vqa/lenient", arms, 0.95)
    assert arms["dpo"]["minus_none"] == before
