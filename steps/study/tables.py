"""Arms against instruments: each mean, each seed, and paired differences to the base and to SFT."""

import math
from collections.abc import Sequence
from typing import Any

from steps.study import crossed, reused, stats
from steps.study.collect import Found
from steps.study.instruments import groups
from steps.study.rows import PRIMARY, Row
from steps.study.wording import COSTS

REFERENCES = ("none", "sft")
"""The arms that others are compared with: the untouched base, and supervised fine-tuning."""
PLACES = {"original": "original/", "random": "random/", "pixels": "pixels/"}


def results(found: Found, params: Any, base: str) -> list[dict[str, Any]]:
    """Every table of a base: groups with rows, each with its arms and its baselines.

    All numbers are in the unit that is shown (points are shares times 100).
    """
    told = []
    for group in groups(found.names(base)):
        rows = [_row(found, params, base, row) for row in group.rows]
        shown = {"title": group.title, "caption": group.caption, "unit": group.unit}
        told.append(shown | {"rows": rows})
    return told


def _row(found: Found, params: Any, base: str, row: Row) -> dict[str, Any]:
    seeds = {arm: _seeds(found, base, arm, row) for arm in params.arms}
    arms: dict[str, Any] = {}
    for arm, own in seeds.items():
        if own:
            arms[arm] = {"mean": _mean(own.values()), "seeds": own}
            arms[arm] |= {
                f"minus_{other}": minus(own, seeds[other], params.report.confidence)
                for other in references(params, arm)
                if seeds.get(other)
            }
    crossed.widen(found, base, row.metric, arms, params.report.confidence)
    beside = {}
    for name, place in _places(found, base).items():
        if row.baselines and row.metric.startswith(("classify/", "segment/", "reuse/")):
            own = _baseline(found, base, row, place)
            if own:
                beside[name] = {"mean": _mean(own.values()), "seeds": own}
    if row.metric.startswith("reuse/") and "original" in beside:
        for arm, own in seeds.items():
            if own:
                change = minus(own, beside["original"]["seeds"], params.report.confidence)
                arms[arm]["minus_original"] = change
    if row.chance:
        chances = [m.removesuffix("/top1") + "/chance" for m in row.mean_of] or [row.chance]
        own = _average([found.series(base, arm, c) for c in chances] for arm in params.arms)
        if own:
            beside["chance"] = {"mean": row.scale * _mean(own)}
    return {
        "metric": row.metric,
        "label": row.label,
        "inner": row.inner,
        "arms": arms,
        "baselines": beside,
    }


def references(params: Any, arm: str) -> list[str]:
    """The arms that an arm is compared with: REFERENCES, and those of its `contrasts`."""
    asked = (other for one, other in params.contrasts if one == arm)
    return [other for other in dict.fromkeys((*REFERENCES, *asked)) if other != arm]


def _places(found: Found, base: str) -> dict[str, str]:
    """What stands beside the arms, by prefix: PLACES, and every larger encoder that was re-used."""
    larger = {
        name.partition("/")[0]
        for (stage, b, _, _), values in found.metrics.items()
        if stage == "newcomers" and b == base
        for name in values
    }
    return PLACES | {name: f"{name}/" for name in sorted(larger)}


def _seeds(found: Found, base: str, arm: str, row: Row) -> dict[int, float]:
    """A row's value by seed for one arm, scaled; only seeds that have every part of it."""
    parts = [found.series(base, arm, name) for name in row.mean_of or (row.metric,)]
    less = found.series(base, arm, row.minus) if row.minus else None
    seeds = set.intersection(*(set(p) for p in parts), *([set(less)] if less is not None else []))
    return {
        s: row.scale * (_mean([p[s] for p in parts]) - (less[s] if less is not None else 0))
        for s in sorted(seeds)
    }


def _baseline(found: Found, base: str, row: Row, place: str) -> dict[int, float]:
    names = [f"{place}{name}" for name in row.mean_of or (row.metric,)]
    own = [w for w in found.metrics if w[0] in ("baselines", "newcomers") and w[1] == base]
    return {
        where[3]: row.scale * _mean([found.metrics[where][name] for name in names])
        for where in sorted(own, key=str)
        if where[3] is not None and set(names) <= set(found.metrics[where])
    }


def _average(arms: Any) -> list[float]:
    """The mean over labels for the first arm that has every label; its seeds' values."""
    for labels in arms:
        seeds = set.intersection(*(set(values) for values in labels))
        if seeds:
            return [_mean([values[s] for values in labels]) for s in sorted(seeds)]
    return []


def minus(one: dict[int, float], other: dict[int, float], confidence: float) -> dict[str, Any]:
    """The paired difference over the seeds that both have, with its t interval."""
    seeds = sorted(set(one) & set(other))
    return stats.plain([one[s] - other[s] for s in seeds], confidence)


def changes(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """An arm's paired differences in a row, by what it is compared with."""
    return {key.removeprefix("minus_"): c for key, c in told.items() if key.startswith("minus_")}


def gaps(row: dict[str, Any]) -> dict[str, list[float]]:
    """Each arm of a summary's row minus the base, seed by seed."""
    base = row["arms"].get("none", {}).get("seeds", {})
    return {
        arm: [value - base[seed] for seed, value in told["seeds"].items() if seed in base]
        for arm, told in row["arms"].items()
        if arm != "none"
    }


def everywhere(params: Any) -> list[str]:
    """The arms that run on all seeds; the others are controls, with a table of their own."""
    return [arm for arm, spec in params.arms.items() if spec.seeds == "all"]


def costs(found: Found, params: Any, base: str) -> list[dict[str, Any]]:
    """Budgets and dose of every arm, mean over seeds.

    `untold` names arms whose budget nobody knows, since they were trained elsewhere: what is said
    at equal cost cannot be tested on them.
    """
    untold = [arm for arm, spec in params.arms.items() if spec.method == "checkpoint"]
    rows = []
    for name, label in COSTS.items():
        arms = {arm: found.series(base, arm, name) for arm in params.arms}
        if any(arms.values()):
            means = {arm: _mean(v.values()) for arm, v in arms.items() if v}
            rows.append({"metric": name, "label": label, "arms": means})
    rows += reused.costs(found, params, base)
    return [row | {"untold": [] if row["metric"].startswith("dose/") else untold} for row in rows]


def cost(row: dict[str, Any], arm: str) -> str:
    """An arm's cell in a row of `costs`."""
    return "not testable" if arm in row["untold"] else number(row["arms"].get(arm))


def headline(found: Found, params: Any) -> dict[str, Any]:
    """What differences the study can find, from the noise of its own paired differences.

    Noise is the standard deviation over seeds of (arm - none) in the primary metric, each seed
    averaged over the bases, pooled over the arms of all seeds; only seeds count that every such arm
    and base has.
    """
    report, row = params.report, Row(PRIMARY, "")
    have = {b: {a: _seeds(found, b, a, row) for a in params.arms} for b in params.bases}
    bases = [b for b in have if have[b]["none"]]
    there = [arm for arm in everywhere(params) if any(have[b][arm] for b in bases)]
    arms = [arm for arm in there if arm != "none"]
    sets = [set(have[b][a]) for b in bases for a in ["none", *arms]]
    seeds = sorted(set.intersection(*sets)) if sets else []
    compared = {arm: (arm, "none") for arm in arms} | {
        f"{one} − {other}": (one, other)
        for one, other in params.contrasts
        if {one, other} <= {"none", *arms}
    }
    differences = {
        name: [_mean([have[b][one][s] - have[b][other][s] for b in bases]) for s in seeds]
        for name, (one, other) in compared.items()
    }
    n = len(seeds)
    sd = stats.pooled([differences[arm] for arm in arms])
    points = None if sd is None else stats.smallest(sd, n, report.power, report.confidence)
    by_arm = {
        arm: {
            "sd": stats.deviation(d),
            "points": stats.smallest(stats.deviation(d), n, report.power, report.confidence),
        }
        for arm, d in differences.items()
        if n > 1
    }
    power = f"{100 * report.power:g} % power"
    many = "one base" if len(bases) == 1 else f"{len(bases)} bases"
    what = f"{n} seed{'s' if n != 1 else ''} of {many}"
    if points is not None:
        can = f"finds differences of {points:.1f} points or more at {power}"
    else:
        can = f"what differences it finds at {power} cannot be computed from fewer than two seeds"
    return {
        "sentence": f"Demonstration: {what}; {can}; the published ones are 1–3.",
        "metric": PRIMARY,
        "seeds": seeds,
        "bases": bases,
        "points": points,
        "sd": sd,
        "by_arm": by_arm,
        "power": report.power,
        "confidence": report.confidence,
    }


def _mean(values: Any) -> float:
    values = list(values)
    return math.fsum(values) / len(values)


def number(value: float | None) -> str:
    """A number for people: three or four digits, large ones in thousands and powers of ten."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1e6:
        exponent = math.floor(math.log10(size))
        power = str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
        text = f"{value / 10**exponent:.2f}·10{power}"
    elif size >= 1000 or value == int(value):
        text = f"{value:,.0f}".replace(",", "\u2009")
    elif size >= 0.1:
        text = f"{value:.3g}" if size < 10 else f"{value:.1f}"
    else:
        text = f"{value:#.2g}"
    return text.replace("-", "−")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; the first column is text, the others numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(_cell(str(c)) for c in line) + " |\n" for line in lines)


def _cell(text: str) -> str:
    """Text that Markdown takes for nothing but text: model answers are not to be trusted."""
    for sign, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "'")):
        text = text.replace(sign, safe)
    return " ".join(text.split())
