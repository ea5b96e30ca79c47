"""Every claim judged on a study's results: estimates, controls and verdicts, as plain values."""

from collections.abc import Iterator
from typing import Any

from steps.study import contrasts
from steps.study.claims import decide
from steps.study.claims.registry import Claim, Paper, parsed

Units = dict[str, dict[int, float]]
"""An effect by base and seed."""
SCOPES = {
    "drawn": "drawn scenes of the embedded world",
    "photos": "photographs in the embedded world",
    "files": "questions from files",
}
CAUTION = (
    "These verdicts judge a mechanism in a small synthetic world. They neither confirm nor refute "
    "a paper on its own models."
)


def told(found: Any, params: Any, papers: dict[str, Paper]) -> dict[str, Any]:
    """What the page says of claims: scope, caution, and a row for each, paper by paper.

    Primary claims of a paper are decided together (Holm 1979, differences and equivalences apart);
    the others are described, their p-values adjusted by Benjamini and Hochberg (1995).
    """
    world = "files" if params.data.source == "files" else params.world.sprites
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
        "scope": SCOPES[world],
        "caution": CAUTION,
        "papers": {name: {"name": p.name, "source": p.source} for name, p in papers.items()},
        "alpha": decide.ALPHA,
        "fewest": decide.FEWEST,
        "rows": rows,
    }


def _weighed(found: Any, params: Any, claim: Claim) -> dict[str, Any]:
    """A claim's row before p-values are adjusted; without `estimate` where it cannot be judged."""
    row: dict[str, Any] = claim.model_dump(exclude={"controls", "sees"})
    if claim.effect is None:
        return row
    own, lacks = units(claim.effect, found, params, claim.unit)
    measured = _estimate(own)
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
    }
    for name, effect in claim.controls.items():
        other, missing = units(effect, found, params, claim.unit)
        shared = {
            b: {s: v for s, v in of.items() if s in own.get(b, {})} for b, of in other.items()
        }
        control = _estimate(shared)
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
        known = _estimate(seen)
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


def _estimate(values: Units) -> decide.Estimate | None:
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
    scale, constant, lacks = 100.0 if unit == "points" else 1.0, 0.0, []
    series: list[list[tuple[float, Units]]] = []
    for term in parsed(effect):
        if not term.metrics:
            constant += scale * term.weight
            continue
        names = [name for metric in term.metrics for name in _sited(metric, params)]
        each = [(term.weight / len(names), _series(found, params, term.arm, n)) for n in names]
        lacks += [
            f"{term.arm or ''}:{name}"
            for name, (_, values) in zip(names, each, strict=True)
            if not any(values.values())
        ]
        series.append(each)
    flat = [pair for each in series for pair in each]
    made: Units = {}
    for base in params.bases:
        seeds = set.intersection(*(set(values.get(base, {})) for _, values in flat))
        if seeds:
            made[base] = {
                seed: constant + scale * sum(weight * of[base][seed] for weight, of in flat)
                for seed in sorted(seeds)
            }
    return made, lacks or ([] if made else ["no seed has all of it"])


def _series(found: Any, params: Any, arm: str | None, metric: str) -> Units:
    if arm is not None:
        return {base: found.series(base, arm, metric) for base in params.bases}
    values: Units = {base: {} for base in params.bases}
    for (_, base, of, seed), metrics in found.metrics.items():
        if of is None and base in values and seed is not None and metric in metrics:
            values[base][seed] = metrics[metric]
    return values


def _sited(metric: str, params: Any) -> Iterator[str]:
    """The metric at each site of the study's dictionaries, where it stands for any."""
    if "{site}" not in metric:
        yield metric
        return
    for site in params.diff.sites:
        for layer in params.diff.layers:
            yield metric.replace("{site}", f"{site}.{layer}")


def _discovered(p: list[float]) -> list[float]:
    """p-values adjusted by Benjamini and Hochberg."""
    if not p:
        return []
    from scipy.stats import false_discovery_control

    return [float(q) for q in false_discovery_control(p)]
