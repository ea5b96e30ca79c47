"""Credit rules against each other: paired contrasts of GRPO's arms, and whether they may be read.

A contrast counts only where the study could have told rules apart at all. Its premises are fixed
here: plain GRPO's reward has to rise by `RISE` points, and true credit (`oracle`) has to differ
from a reward by chance, in right answers to questions not trained on (a coin's own reward says
nothing of answers, so the arm that it pays has no part in measures of reward). The unit is the
seed; p-values are corrected by Holm (1979) over the contrasts of one measure.
"""

from collections.abc import Sequence
from typing import Any

from steps.study import stats

RISE = 10.0
"""Points by which the reward of `uniform` has to rise, from the first to the last fifth."""
CONTRASTS = (
    ("anchor", "random", "as many words, by attention or by chance"),
    ("lowest", "random", "as many words, least attention or by chance"),
    ("low_connectivity", "uniform", "all words but the anchors"),
    ("anchor", "uniform", "anchors alone or all words"),
    ("anchor/density", "shuffled/density", "soft weights by attention or dealt out by chance"),
    ("inverse/density", "shuffled/density", "soft weights turned round or dealt out by chance"),
    ("entropy", "random", "as many words, by entropy or by chance"),
    ("vppo", "uniform", "words and answers that a spoilt image changes"),
    ("oracle", "uniform", "words known to depend on the image"),
    ("uniform", "coin", "the right reward or a coin's"),
)
"""Rules that are compared, a rule's soft form after a stroke, and what the contrast is about."""
MEASURES = {
    "lenient": "right answers, points",
    "reward": "reward, last fifth of training, points",
    "area": "reward, mean over training, points",
}


def told(found: Any, curves: dict[str, Any], params: Any, base: str) -> dict[str, Any]:
    """Premises and contrasts of a base; empty where no two arms differ in their credit.

    curves: `collect.curves`' of the base. Every figure is in points.
    """
    arms = {_name(params, arm): arm for arm in params.arms if params.arms[arm].method == "grpo"}
    pairs = [(a, b, what) for a, b, what in CONTRASTS if a in arms and b in arms]
    if not any(a != "uniform" for a, _, _ in pairs):
        return {}
    paid = {arm: {} if name == "coin" else curves.get(arm, {}) for name, arm in arms.items()}
    values = {name: _measures(found, paid, base, arm) for name, arm in arms.items()}
    level = params.report.confidence
    premises = []
    if "uniform" in arms and (rise := _rise(curves.get(arms["uniform"], {}))):
        one = _told([100 * value for value in rise.values()], level)
        what = f"uniform's reward rises by {RISE:g} points"
        premises.append({"what": what, "met": one["mean"] >= RISE, **one})
    if {"oracle", "coin"} <= set(arms):
        one = _told(_gap(values["oracle"]["lenient"], values["coin"]["lenient"]), level)
        apart = one["low"] is not None and not one["low"] <= 0 <= one["high"]
        what = "oracle answers otherwise than an arm that a coin paid"
        premises.append({"what": what, "met": apart, **one})
    rows = []
    for measure in MEASURES:
        some = [
            {"measure": measure, "one": a, "other": b, "what": what, **_told(gap, level)}
            for a, b, what in pairs
            if (gap := _gap(values[a][measure], values[b][measure]))
        ]
        for row, p in zip(some, holm([row["p"] for row in some]), strict=True):
            rows.append(row | {"holm": p})
    means = {
        name: {m: sum(v.values()) / len(v) for m, v in of.items() if v}
        for name, of in values.items()
    }
    return {
        "seeds": list(params.seeds),
        "arms": arms,
        "means": means,
        "premises": premises,
        "informative": len(premises) == 2 and all(p["met"] for p in premises),
        "rows": rows,
    }


def _name(params: Any, arm: str) -> str:
    """An arm by its credit: `coin` where the reward is chance, a stroke before soft weights."""
    own = params.arms[arm].overrides
    if own.get("reward") == "random":
        return "coin"
    rule = own.get("credit", "uniform")
    return f"{rule}/{own['weight']}" if own.get("weight", "hard") != "hard" else rule


def _measures(found: Any, curves: dict[str, Any], base: str, arm: str) -> dict[str, dict]:
    """Each measure of an arm by seed, in points."""
    lines = curves.get(arm, {}).get("reward", {})
    ends = {seed: _fifths([v for _, v in points]) for seed, points in lines.items()}
    return {
        "lenient": {s: 100 * v for s, v in found.series(base, arm, "vqa/lenient").items()},
        "reward": {seed: 100 * last for seed, (_, last) in ends.items()},
        "area": {seed: 100 * _mean([v for _, v in points]) for seed, points in lines.items()},
    }


def _rise(lines: dict[str, Any]) -> dict[int, float]:
    """Reward over the last fifth of training minus that over the first, by seed."""
    ends = {s: _fifths([v for _, v in points]) for s, points in lines.get("reward", {}).items()}
    return {seed: last - first for seed, (first, last) in ends.items()}


def _fifths(values: Sequence[float]) -> tuple[float, float]:
    count = max(1, round(len(values) / 5))
    return _mean(values[:count]), _mean(values[-count:])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _gap(one: dict[int, float], other: dict[int, float]) -> list[float]:
    return [one[seed] - other[seed] for seed in sorted(set(one) & set(other))]


def _told(gaps: list[float], confidence: float) -> dict[str, Any]:
    """Mean, t interval, number and two-sided p of paired differences."""
    return stats.plain(gaps, confidence) | {"p": stats.p_value(gaps)}


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down (1979, Scand. J. Stat. 6:65)."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted
