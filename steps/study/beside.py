"""Two studies side by side: first what is equal in them, then only that compared."""

import json
from pathlib import Path
from typing import Any

from steps.stage import StageError
from steps.study import share, stats
from steps.study.tables import markdown

JUDGED = {"vqa": "vqa/lenient", "sharpen": "sharpen/majority", "segment": "segment/shape/miou"}
"""Stages whose figures are compared, and which figure of each."""
CONFIDENCE = 0.95


def compare(one: Path, other: Path) -> str:
    """What two results folders or exports have in common, and their arms' figures on that.

    Compared are arms of one name, on bases with the same weights, on seeds with the same items,
    where the same code judged. Raises StageError where a place holds no study.
    """
    a, b = (_read(place) for place in (one, other))
    parts = [f"A = {one}\nB = {other}\n"]
    bases = _equal(a["bases"], b["bases"])
    seeds = _equal(_items(a), _items(b))
    parts.append(_said("bases", bases, "weights"))
    parts.append(_said("items", seeds, "questions"))
    rows = []
    for stage, metric in JUDGED.items():
        common = sorted(set(a["results"].get(stage, {})) & set(b["results"].get(stage, {})))
        if not common:
            continue
        codes = {of["results"][stage][key]["code"] for of in (a, b) for key in common}
        if len(codes) > 1:
            parts.append(f"{stage}: not compared, other code judged")
            continue
        rows += _rows(a, b, stage, metric, common, bases, seeds)
    if not rows:
        return "\n".join([*parts, "Nothing is comparable."])
    head = ["", "A", "B", "B − A", "interval", "units"]
    return "\n".join([*parts, "", markdown(head, rows)])


def _rows(
    a: Any, b: Any, stage: str, metric: str, common: list, bases: dict, seeds: dict
) -> list[list[str]]:
    gaps: dict[str, list[tuple[float, float]]] = {}
    for base, arm, seed in common:
        if not (bases.get(base) and seeds.get(seed)):
            continue
        values = [of["results"][stage][base, arm, seed]["metrics"].get(metric) for of in (a, b)]
        if None not in values:
            gaps.setdefault(arm, []).append((100 * values[0], 100 * values[1]))
    rows = []
    for arm, pairs in sorted(gaps.items()):
        told = stats.paired([y - x for x, y in pairs], CONFIDENCE)
        assert told is not None  # there is a pair
        means = [sum(side) / len(pairs) for side in zip(*pairs, strict=True)]
        interval = "–" if told.low is None else f"{told.low:+.2f} to {told.high:+.2f}"
        figures = [f"{value:.2f}" for value in means]
        rows.append([f"{metric}, {arm}", *figures, f"{told.mean:+.2f}", interval, str(told.n)])
    return rows


def _read(place: Path) -> dict[str, Any]:
    """Manifests' facts and metrics of a study's results, and what its bases hold."""
    files, results, bases = share.opened(place), {}, {}
    for name, data in files.items():
        folder, _, last = name.rpartition("/")
        if last != "manifest.json" or not folder:
            continue
        try:
            facts = json.loads(data)
            metrics = json.loads(files.get(f"{folder}/metrics.json", b"{}"))
            key = facts["base"], facts["arm"], facts["seed"]
            content = {n: f["sha256"] for n, f in facts["files"].items() if n != "metrics.json"}
            told = {"code": facts["code"], "content": content, "metrics": metrics}
            results.setdefault(facts["stage"], {})[key] = told
            if folder.startswith("base/"):  # by whichever stage it was made
                bases[facts["base"]] = content
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StageError(f"{place}: {name} is no manifest of ours") from None
    return {"results": results, "bases": bases}


def _items(study: dict[str, Any]) -> dict[Any, Any]:
    """What the questions of each seed are."""
    return {seed: f["content"] for (_, _, seed), f in study["results"].get("items", {}).items()}


def _equal(one: dict[Any, Any], other: dict[Any, Any]) -> dict[Any, bool]:
    """Of what both have, whether its content is the same."""
    return {key: content == other[key] for key, content in one.items() if key in other}


def _said(what: str, equal: dict[Any, bool], of: str) -> str:
    same = ", ".join(str(key) for key, yes in equal.items() if yes) or "none"
    others = ", ".join(str(key) for key, yes in equal.items() if not yes)
    return f"{what} with the same {of}: {same}" + (f"; with others: {others}" if others else "")
