"""Every claim judged on a study's results: estimates, controls and verdicts, as plain values."""

from typing import Any

from steps.study import contrasts
from steps.study.claims import decide, fixed
from steps.study.claims.decide import Estimate
from steps.study.claims.registry import Claim, Paper, Term, parsed
from steps.study.claims.units import SCALES, Units, bar, meant, strata, units

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
OF_FILES = "These verdicts are of the models and questions of this study, and of no others."


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
            for row in some:
                row["enough"] = _enough(row, decide.ALPHA / (len(some) if primary else 1))
        for (number, claim), row in zip(paper.claims.items(), own, strict=True):
            word = _word(row, claim)
            row |= {"paper": name, "id": number, "verdict": word.word, "why": word.why}
            rows.append(row)
    return {
        "scope": scope(params),
        "caution": OF_FILES if params.data.source == "files" else CAUTION,
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

    The gain is of the effect's first metric. Empty where that is no arm's. An arm without such
    figures has no points and keeps its place, from which pictures take its colour.
    """
    first = next((term for term in parsed(effect) if term.metrics), None)
    if first is None or first.arm in (None, "none"):
        return {}
    metric = spelt(first)
    told = {}
    for arm in (arm for arm in params.arms if arm != "none"):
        gain, _ = units(f"{arm}:{metric} - none:{metric}", found, params, unit)
        moved, _ = units(f"{arm}:{DOSE}", found, params, "raw")
        told[arm] = [
            [moved[base][seed], value]
            for base, values in gain.items()
            for seed, value in values.items()
            if seed in moved.get(base, {})
        ]
    return told


def _weighed(found: Any, params: Any, claim: Claim) -> dict[str, Any]:
    """A claim's row before p-values are adjusted; without `estimate` where it cannot be judged."""
    row: dict[str, Any] = claim.model_dump(exclude={"controls"})
    if claim.effect is None:
        return row
    own, lacks = units(claim.effect, found, params, claim.unit)
    terms = parsed(claim.effect)
    measured, crossed = _measured(terms, own, found, claim.unit), fixed.about(terms)
    if measured is None:
        return row | {"lacks": lacks}
    level, groups = 1 - decide.ALPHA, strata(own)
    row |= {
        "estimate": _plain(measured, level),
        "bar": bar(claim.effect, claim.unit),
        "units": {base: list(map(list, of.items())) for base, of in own.items()},
        "meant": meant(claim.effect, found, params),
        "apart": decide.apart(groups),
        "differs": measured.differs(),
        "negligible": measured.negligible(claim.interest),
        "flipped": None if crossed else decide.flipped(groups),
        "controls": {},
        "dose": dosed(claim.effect, found, params, claim.unit),
    }
    for name, effect in claim.controls.items():
        other, missing = units(effect, found, params, claim.unit)
        shared = {
            b: {s: v for s, v in of.items() if s in own.get(b, {})} for b, of in other.items()
        }
        left = {b: {s: own[b][s] - v for s, v in of.items()} for b, of in shared.items()}
        both = fixed.without(terms, parsed(effect))
        control = _measured(parsed(effect), shared, found, claim.unit)
        rest = _measured(both, left, found, claim.unit)
        if control is None or rest is None:
            row["controls"][name] = {"effect": effect, "lacks": missing}
            continue
        row["controls"][name] = {
            "effect": effect,
            "estimate": _plain(control, level),
            "rest": _plain(rest, level),
            "explains": decide.explains(control, rest, claim.sign, claim.interest),
        }
    row["known"] = {
        name: _known(effect, found, params, claim.unit) for name, effect in claim.sees.items()
    }
    return row


def _enough(row: dict[str, Any], alpha: float) -> int | None:
    """Units that would tell, at what Holm asks of one claim where all of them are to be found.

    None for a claim about a benchmark, whose questions no more units would add to.
    """
    if fixed.about(parsed(row["effect"])):
        return None
    one = _estimate(row["estimate"])
    return decide.enough(one, row["interest"], int(one.n - one.freedom), alpha)


def _estimate(one: dict[str, Any]) -> Estimate:
    """An estimate of which `_plain` was kept."""
    return Estimate(one["mean"], one["error"], one["freedom"], one["n"])


def _known(effect: str, found: Any, params: Any, unit: str) -> dict[str, Any]:
    """An effect that is known to be there: seen if it was measured and is above 0."""
    one = _measured(parsed(effect), units(effect, found, params, unit)[0], found, unit)
    told = {"effect": effect, "seen": one is not None and one.above(0) < decide.ALPHA}
    if one is None:
        return told
    return told | {"estimate": _plain(one, 1 - decide.ALPHA), "bar": bar(effect, unit)}


def _word(row: dict[str, Any], claim: Claim) -> decide.Verdict:
    if claim.why_not:
        return decide.Verdict("not testable", claim.why_not)
    if "estimate" not in row:
        return decide.Verdict("not testable", f"not measured: {', '.join(row['lacks'])}")
    by = [name for name, told in row["controls"].items() if told.get("explains")]
    own = _estimate(row["estimate"])
    unseen = [name for name, told in row["known"].items() if not told["seen"]]
    word = decide.verdict(own, claim.sign, row["differs"], row["negligible"], unseen, by)
    if word.word != "replicated":
        return word
    return decide.Verdict(word.word, "; ".join([word.why, *_unruled(row["controls"], claim.sign)]))


def _unruled(controls: dict[str, dict[str, Any]], sign: int) -> list[str]:
    """What a replication leaves open: controls not measured, or not told apart from it."""
    lacking = [name for name, told in controls.items() if "lacks" in told]
    near = [
        name
        for name, told in controls.items()
        if "rest" in told and not _estimate(told["rest" if sign else "estimate"]).clear(sign)
    ]
    said = {"without the control": lacking, "not told apart from": near}
    return [f"{how} {', '.join(names)}" for how, names in said.items() if names]


def estimate(values: Units) -> Estimate | None:
    """`decide.estimate` of an effect in each unit."""
    return decide.estimate(strata(values))


def _measured(terms: list[Term], values: Units, found: Any, unit: str) -> Estimate | None:
    """The same; of a benchmark, whose questions all units share, over these too."""
    one = estimate(values)
    if one is None or fixed.about(terms) is None:
        return one
    return fixed.crossed_with(one, terms, values, found, SCALES[unit])


def _plain(one: Estimate, level: float) -> dict[str, Any]:
    low, high = one.interval(level) or (None, None)
    return {
        "mean": one.mean,
        "low": low,
        "high": high,
        "error": one.error,
        "freedom": one.freedom,
        "n": one.n,
    }


def _discovered(p: list[float]) -> list[float]:
    """p-values adjusted by Benjamini and Hochberg."""
    if not p:
        return []
    from scipy.stats import false_discovery_control

    return [float(q) for q in false_discovery_control(p)]
