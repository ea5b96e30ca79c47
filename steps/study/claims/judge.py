"""Every claim judged on a study's results: estimates, controls and verdicts, as plain values."""

from collections.abc import Iterable, Iterator
from typing import Any

from steps.study import contrasts
from steps.study.claims import decide
from steps.study.claims.registry import Claim, Paper, Term, parsed

Units = dict[str, dict[int, float]]
"""An effect by base and seed."""
SCOPES = {
    "drawn": "drawn scenes of the embedded world",
    "photos": "photographs in the embedded world",
    "files": "questions from files",
}
DOSE = "dose/tower"
"""How far an arm moved the vision tower: relative change of its weights."""
CAUTION = (
    "These verdicts judge a mechanism in a small synthetic world. They neither confirm nor refute "
    "a paper on its own models."
)


def told(found: Any, params: Any, papers: dict[str, Paper]) -> dict[str, Any]:
    """What the page says of claims: scope, caution, and a row for each, paper by paper.

    Primary claims of a paper are decided together (Holm 1979, differences and equivalences apart);
    the others are described, their p-values adjusted by Benjamini and Hochberg (1995).
    """
    rows = []
    for name, paper in papers.items():
        own = [_weighed(found, params, claim) for claim in paper.claims.values()]
        for primary in (True, False):
            some = [row for row in own if row.get("estimate") and row["primary"] is primary]
            for key in ("differs", "negligible"):
                adjust = contrasts.holm if primary else _discovered
                for row, p in zip(some, adjust([r[key] for r in some]), strict=True):
                    row[key] = p
        for (number, claim), row in zip(paper.claims.items(), own, strict=True):
            word = _word(row, claim)
            row |= {"paper": name, "id": number, "verdict": word.word, "why": word.why}
            row.pop("sees_it", None)
            rows.append(row)
    return {
        "scope": scope(params),
        "caution": CAUTION,
        "papers": {name: {"name": p.name, "source": p.source} for name, p in papers.items()},
        "alpha": decide.ALPHA,
        "fewest": decide.FEWEST,
        "rows": rows,
    }


def scope(params: Any) -> str:
    """What a study's verdicts are of."""
    return SCOPES["files" if params.data.source == "files" else params.world.sprites]


def spelt(term: Term) -> str:
    """A term's metrics as an effect spells them."""
    return f"{{{','.join(term.metrics)}}}" if term.metrics[1:] else term.metrics[0]


def dosed(effect: str, found: Any, params: Any, unit: str) -> dict[str, list[list[float]]]:
    """For each arm, seed by seed: how far it moved the tower, and what it gained over the base.

    The gain is of the effect's first metric. Empty where that is no arm's, or nothing is trained.
    """
    first = next((term for term in parsed(effect) if term.metrics), None)
    if first is None or first.arm in (None, "none"):
        return {}
    metric = spelt(first)
    told = {}
    for arm in (arm for arm in params.arms if arm != "none"):
        gain, _ = units(f"{arm}:{metric} - none:{metric}", found, params, unit)
        moved, _ = units(f"{arm}:{DOSE}", found, params, "raw")
        points = [
            [moved[base][seed], value]
            for base, values in gain.items()
            for seed, value in values.items()
            if seed in moved.get(base, {})
        ]
        if points:
            told[arm] = points
    return told


def _weighed(found: Any, params: Any, claim: Claim) -> dict[str, Any]:
    """A claim's row before p-values are adjusted; without `estimate` where it cannot be judged."""
    row: dict[str, Any] = claim.model_dump(exclude={"controls", "sees"})
    if claim.effect is None:
        return row
    own, lacks = units(claim.effect, found, params, claim.unit)
    measured = estimate(own)
    if measured is None:
        return row | {"lacks": lacks}
    level = 1 - decide.ALPHA
    row |= {
        "estimate": _plain(measured, level),
        "units": {base: list(map(list, of.items())) for base, of in own.items()},
        "differs": measured.differs(),
        "negligible": measured.negligible(claim.interest),
        "flipped": decide.flipped(_listed(own)),
        "enough": decide.enough(measured, claim.interest, len(own)),
        "controls": {},
        "dose": dosed(claim.effect, found, params, claim.unit),
    }
    for name, effect in claim.controls.items():
        other, missing = units(effect, found, params, claim.unit)
        shared = {
            b: {s: v for s, v in of.items() if s in own.get(b, {})} for b, of in other.items()
        }
        control = estimate(shared)
        left = {b: [own[b][s] - v for s, v in of.items()] for b, of in shared.items()}
        rest = decide.estimate(left)
        if control is None or rest is None:
            row["controls"][name] = {"effect": effect, "lacks": missing}
            continue
        row["controls"][name] = {
            "effect": effect,
            "estimate": _plain(control, level),
            "rest": _plain(rest, level),
            "explains": claim.sign != 0 and decide.explains(control, rest, claim.sign),
        }
    if claim.sees:
        seen, _ = units(claim.sees, found, params, claim.unit)
        known = estimate(seen)
        told = known is not None and known.error is not None
        row["sees_it"] = known.above(0) < decide.ALPHA if told else None
    return row


def _word(row: dict[str, Any], claim: Claim) -> decide.Verdict:
    if claim.why_not:
        return decide.Verdict("not testable", claim.why_not)
    if "estimate" not in row:
        return decide.Verdict("not testable", f"not measured: {', '.join(row['lacks'])}")
    one = row["estimate"]
    found = decide.Estimate(one["mean"], one["error"], one["freedom"], one["n"])
    by = [name for name, told in row["controls"].items() if told.get("explains")]
    return decide.verdict(
        found, claim.sign, row["differs"], row["negligible"], row.get("sees_it"), by
    )


def _listed(values: Units) -> dict[str, list[float]]:
    return {base: list(of.values()) for base, of in values.items()}


def estimate(values: Units) -> decide.Estimate | None:
    """`decide.estimate` of an effect in each unit."""
    return decide.estimate(_listed(values))


def _plain(one: decide.Estimate, level: float) -> dict[str, Any]:
    low, high = one.interval(level) or (None, None)
    return {
        "mean": one.mean,
        "low": low,
        "high": high,
        "error": one.error,
        "freedom": one.freedom,
        "n": one.n,
    }


def units(effect: str, found: Any, params: Any, unit: str) -> tuple[Units, list[str]]:
    """An effect in each unit that has all its terms, and which terms no unit of the study has."""
    scale, terms = 100.0 if unit == "points" else 1.0, parsed(effect)
    constant = scale * sum(term.weight for term in terms if not term.metrics)
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
                seed: constant + scale * sum(weight * values[seed] for weight, values in flat)
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


def _discovered(p: list[float]) -> list[float]:
    """p-values adjusted by Benjamini and Hochberg."""
    if not p:
        return []
    from scipy.stats import false_discovery_control

    return [float(q) for q in false_discovery_control(p)]
