"""A claim's effect, formed from the metrics of a study unit by unit."""

from collections.abc import Iterable, Iterator
from statistics import fmean
from typing import Any

from steps.study.claims.registry import Term, parsed

Units = dict[str, dict[int, float]]
"""An effect by base and seed."""
SCALES = {"points": 100.0, "raw": 1.0}
"""What a claim's unit makes of a share."""


def bar(effect: str, unit: str) -> float:
    """What an effect is held against: its numbers, from the other side; 0 without."""
    return -SCALES[unit] * sum(term.weight for term in parsed(effect) if not term.metrics) or 0.0


def meant(effect: str, found: Any, params: Any) -> int:
    """How many units could have an effect: those with a result of each of its arms, and of each
    stage that its metrics of the base itself are of.
    """
    terms = [term for term in parsed(effect) if term.metrics]
    wanted = {
        ("", term.arm) if term.arm else (term.metrics[0].split("/")[0], None) for term in terms
    }
    there: dict[Any, set[int]] = {}
    for stage, base, arm, seed in found.metrics:
        if seed is not None:
            there.setdefault((base, "" if arm else stage, arm), set()).add(seed)
    each = [[there.get((base, *one), set()) for one in wanted] for base in params.bases]
    return sum(len(set.intersection(*seeds)) for seeds in each if seeds)


def strata(values: Units) -> dict[str, list[float]]:
    """An effect's values by base. Where bases share seeds, and so items, the unit is a seed: the
    mean over the bases that have it, all in one stratum.
    """
    seeds = [seed for of in values.values() for seed in of]
    if len(seeds) == len(set(seeds)):
        return {base: list(of.values()) for base, of in values.items()}
    by_seed = {seed: [of[seed] for of in values.values() if seed in of] for seed in sorted(seeds)}
    return {"seeds": [fmean(of) for of in by_seed.values()]}


def units(effect: str, found: Any, params: Any, unit: str) -> tuple[Units, list[str]]:
    """An effect in each unit that has all its terms, and which terms no unit of the study has."""
    scale, terms = SCALES[unit], parsed(effect)
    beyond = bar(effect, unit)
    measured = [
        (term, {n: _series(found, params, term.arm, n) for n in _names(term.metrics, params)})
        for term in terms
        if term.metrics
    ]
    lacks = [
        f"{term.arm or ''}:{name}"
        for term, series in measured
        if not any(of for values in series.values() for of in values.values())
        for name in series
    ]
    made: Units = {}
    for base in params.bases:
        flat = _of(base, measured)
        seeds = set.intersection(*(set(values) for _, values in flat)) if flat else ()
        if seeds:
            made[base] = {
                seed: -beyond + scale * sum(weight * values[seed] for weight, values in flat)
                for seed in sorted(seeds)
            }
    return made, lacks or ([] if made else ["no seed has all of it"])


def _of(base: str, measured: list[tuple[Term, dict[str, Units]]]) -> list[tuple[float, Any]]:
    """An effect's terms on one base, as weights and values by seed; empty where one is missing.

    Of alternatives those count that the base has in every term with the same ones: a world of
    photographs knows no colours.
    """
    have: dict[tuple[str, ...], set[str]] = {}
    for term, series in measured:
        there = {name for name, values in series.items() if values.get(base)}
        have[term.metrics] = have.get(term.metrics, there) & there
    if not all(have.values()):
        return []
    return [
        (term.weight / len(have[term.metrics]), series[name][base])
        for term, series in measured
        for name in sorted(have[term.metrics])
    ]


def _series(found: Any, params: Any, arm: str | None, metric: str) -> Units:
    if arm is not None:
        return {base: found.series(base, arm, metric) for base in params.bases}
    values: Units = {base: {} for base in params.bases}
    for (_, base, of, seed), metrics in found.metrics.items():
        if of is None and base in values and seed is not None and metric in metrics:
            values[base][seed] = metrics[metric]
    return values


def _names(metrics: Iterable[str], params: Any) -> Iterator[str]:
    """The metrics, each at every site of the study's dictionaries where it stands for any."""
    for metric in metrics:
        if "{site}" not in metric:
            yield metric
            continue
        for site in params.diff.sites:
            for layer in params.diff.layers:
                yield metric.replace("{site}", f"{site}.{layer}")
