"""Claims about a benchmark, whose questions are the same for every seed of every base.

A question that favours an arm does so on all seeds: units are not independent, and t over them
would tell too narrow an interval. Seeds and questions are crossed, as in the tables
(`study.crossed`, which draws both anew); here bases are strata, and the variance is taken apart.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from steps.study import crossed
from steps.study.claims import decide
from steps.study.claims.registry import Term


def about(terms: Sequence[Term]) -> tuple[str, str] | None:
    """The benchmark and measure that all terms are of, each of an arm; None for other effects."""
    metrics = {metric for term in terms for metric in term.metrics}
    if len(metrics) != 1 or not all(term.arm and term.metrics for term in terms):
        return None
    return crossed.benchmark(*metrics)


def crossed_with(
    one: decide.Estimate,
    terms: Sequence[Term],
    units: dict[str, Iterable[int]],
    found: Any,
    scale: float,
) -> decide.Estimate:
    """An effect's estimate over units, with the standard error over units and questions.

    terms: as `about` takes them; what they come to times `scale` is the effect. units: each base's
    seeds. Where answers are not there, or not to as many questions, no error can be told, and it is
    None, as for one seed a base.
    """
    which, parts = about(terms), {}
    assert which is not None
    wanted = {base: list(seeds) for base, seeds in units.items() if list(seeds)}
    for base, seeds in wanted.items():
        told = [crossed.answers(found, base, str(t.arm), seeds, *which) for t in terms]
        there = [rows for rows in told if rows is not None]
        if len(there) == len(terms) and len({rows.shape for rows in there}) == 1:
            weighed = zip(terms, there, strict=True)
            parts[base] = scale * sum(term.weight * rows for term, rows in weighed)
    if set(parts) != set(wanted) or len({part.shape[1] for part in parts.values()}) > 1:
        return decide.Estimate(one.mean, None, 0, one.n)
    return over_both(parts)


def over_both(parts: dict[str, np.ndarray]) -> decide.Estimate:
    """From each base's differences [seeds, questions], all of the same questions.

    error^2 = w s^2 + var_q / Q - w MS_e / Q, with w = sum(1 / n_b) / B^2: the variance of units
    within bases, that of questions' means over bases, and the rest, which both hold. Degrees of
    freedom are Satterthwaite's (1946).
    """
    own = decide.estimate({base: part.mean(1).tolist() for base, part in parts.items()})
    assert own is not None
    questions = next(iter(parts.values())).shape[1]
    if own.error is None or questions < 2:
        return decide.Estimate(own.mean, None, 0, own.n)
    by_question = np.mean([part.mean(0) for part in parts.values()], axis=0)
    rest = [p - p.mean(1, keepdims=True) - p.mean(0) + p.mean() for p in parts.values()]
    free = own.freedom * (questions - 1)
    weight = sum(1 / len(part) for part in parts.values()) / len(parts) ** 2
    terms = [
        (own.error**2, own.freedom),
        (float(by_question.var(ddof=1)) / questions, questions - 1),
        (-weight * sum(float((r**2).sum()) for r in rest) / free / questions, free),
    ]
    squared = max(own.error**2, sum(value for value, _ in terms))
    below = sum(value**2 / degrees for value, degrees in terms)
    freedom = squared**2 / below if below else float(own.freedom)
    return decide.Estimate(own.mean, squared**0.5, max(1.0, freedom), own.n)


def without(terms: Sequence[Term], others: Sequence[Term]) -> list[Term]:
    """The terms of an effect minus another."""
    return [*terms, *(replace(term, weight=-term.weight) for term in others)]
