"""Differences on a fixed set of questions, where every seed answers the same ones.

Seeds and questions are crossed: a question that favours an arm does so on every seed, so that seeds
alone tell too narrow an interval of how the arm does on questions like these. Both are drawn anew
(Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1(2)).
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from steps.study.stats import Interval, limit

DRAWS = 2000
MEASURES = ("lenient", "strict")


def interval(differences: np.ndarray, confidence: float, seed: int = 0) -> Interval:
    """Mean of paired differences [seeds, questions] and its interval over both.

    Student's t with the standard error of `error` and the degrees of freedom of `freedom`. The
    bounds are None for one seed, which says nothing of others.
    """
    mean, spread = float(differences.mean()), error(differences, seed)
    if spread is None:
        return Interval(mean, None, None, len(differences))
    half = limit(confidence, freedom(differences)) * spread
    return Interval(mean, mean - half, mean + half, len(differences))


def error(differences: np.ndarray, seed: int = 0) -> float | None:
    """Standard error of the mean of [seeds, questions], both drawn anew; None for one of either.

    Each draw takes one seed and one question fewer than there are, with replacement, so that the
    spread of a mean of few is not taken for smaller than it is.
    """
    seeds, questions = differences.shape
    if seeds < 2 or questions < 2:
        return None
    rng = np.random.default_rng(seed)
    rows = rng.multinomial(seeds - 1, np.full(seeds, 1 / seeds), DRAWS) / (seeds - 1)
    columns = rng.multinomial(questions - 1, np.full(questions, 1 / questions), DRAWS)
    drawn = ((rows @ differences) * columns).sum(1) / (questions - 1)
    return float(drawn.std(ddof=1))


def freedom(differences: np.ndarray) -> float:
    """Satterthwaite's degrees of freedom of the mean's variance, (MS_s + MS_q - MS_e) / (S Q)."""
    seeds, questions = differences.shape
    mean = differences.mean()
    by_seed, by_question = differences.mean(1) - mean, differences.mean(0) - mean
    rest = differences - mean - by_seed[:, None] - by_question
    parts = [
        (questions * (by_seed**2).sum(), seeds - 1, 1),
        (seeds * (by_question**2).sum(), questions - 1, 1),
        ((rest**2).sum(), (seeds - 1) * (questions - 1), -1),
    ]
    squares = [sign * total / degrees for total, degrees, sign in parts]
    below = sum((total / d) ** 2 / d for total, d, _ in parts)
    whole = max(sum(squares), 0.0) ** 2
    return max(1.0, whole / below) if below > 0 else float(differences.size - 1)


def widen(found: Any, base: str, metric: str, arms: dict[str, Any], confidence: float) -> None:
    """Give a benchmark's differences intervals over questions too, where its answers are there.

    metric: `benchmarks/<name>/lenient` or `/strict`; nothing happens to others. arms: of a row of
    `tables.results`, changed in place; differences are in points.
    """
    if (which := benchmark(metric)) is None:
        return
    for arm, told in arms.items():
        for key in [key for key in told if key.startswith("minus_")]:
            other = key.removeprefix("minus_")
            if other not in arms:  # an encoder, not an arm
                continue
            seeds = sorted(set(told["seeds"]) & set(arms[other]["seeds"]))
            one, two = (answers(found, base, who, seeds, *which) for who in (arm, other))
            if one is not None and two is not None and one.shape == two.shape:
                told[key] = asdict(interval(100 * (one - two), confidence))


def benchmark(metric: str) -> tuple[str, str] | None:
    """Benchmark and measure of `benchmarks/<name>/lenient` or `/strict`; None for others."""
    head, _, rest = metric.partition("/")
    name, _, measure = rest.rpartition("/")
    return (name, measure) if head == "benchmarks" and measure in MEASURES else None


def answers(
    found: Any, base: str, arm: str, seeds: list[int], name: str, measure: str
) -> np.ndarray | None:
    """How right an arm's answers are, [seeds, questions]; None where a table is not there."""
    import pandas as pd

    rows = []
    for seed in seeds:
        if (kept := found.answers("logged", base, arm, seed)) is None:
            return None
        table = pd.read_parquet(kept, columns=["instrument", "item", measure])
        own = table[table["instrument"] == f"benchmarks/{name}"].set_index("item")[measure]
        rows.append(own.sort_index().astype(float).to_numpy())
    if not rows or len({len(row) for row in rows}) > 1:
        return None
    return np.stack(rows)
