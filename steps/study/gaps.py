"""What comes out otherwise than it is recorded, where a study is rescored; see `rescored`.

A result's metrics are `equal`, or they `differ`, are `new` (the code has them now) or `gone` (it
has them no more); what only a model gives is `kept`.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from steps import manifest
from steps.params import ParamsError
from steps.stage import StageError

CLOSE = 1e-9
"""Figures that differ by no more are equal."""
SHOWN = 20
"""Lines of each sort that are printed; rescore.json has all."""
FIRST = 5
"""Answers with other scores that rescore.json shows of a result."""
LOST = (OSError, ValueError, KeyError, manifest.Damaged, ParamsError)
"""What a missing, torn or foreign table raises."""
SCORES = ["strict", "lenient"]


class Told(NamedTuple):
    """Results by path: recomputed ones (`metrics`, `answers`); others, and why; changed files."""

    results: dict[str, dict[str, Any]]
    left: dict[str, str]
    changed: list[str]


def why(error: Exception) -> str:
    """What one of LOST says, as a part of a sentence."""
    said = " ".join(str(error).split())
    if isinstance(error, KeyError):
        return f"it has no {said}"
    if isinstance(error, FileNotFoundError) and not isinstance(error, StageError):
        return f"{error.filename or said} is not there"
    return said


def metrics(
    recorded: dict[str, float], now: dict[str, float], kept: dict[str, float]
) -> dict[str, Any]:
    """One result's metrics: how many are equal and kept, and the others with their values.

    kept: recorded ones that only a model gives.
    """
    both = sorted(set(recorded) & set(now))
    differ = {
        name: {"recorded": recorded[name], "recomputed": now[name], "difference": gap}
        for name in both
        if abs(gap := now[name] - recorded[name]) > CLOSE
    }
    return {
        "equal": len(both) - len(differ),
        "kept": len(set(kept) - set(now)),
        "differ": differ,
        "new": {name: now[name] for name in sorted(set(now) - set(recorded))},
        "gone": {name: recorded[name] for name in sorted(set(recorded) - set(now) - set(kept))},
    }


def answers(old: Path, new: Path) -> dict[str, Any]:
    """How many rows of a table of answers are scored otherwise in another, and the first of them.

    Empty where there is no such table, or no scores in it.
    """
    import pandas as pd

    try:
        was, now = (
            pd.read_parquet(path, columns=["instrument", "item", "raw", *SCORES])
            for path in (old, new)
        )
    except LOST:
        return {}
    if was["item"].tolist() != now["item"].tolist():
        return {"rows": len(now), "other": len(now), "first": []}
    other = ((now[SCORES] - was[SCORES]).abs() > CLOSE).any(axis=1)
    some = was.join(now[SCORES], rsuffix="_now")[other].head(FIRST)
    some["raw"] = some["raw"].astype(str).str[:200]
    first = json.loads(some.to_json(orient="records"))
    return {"rows": len(now), "other": int(other.sum()), "first": first}


def whole(told: Told, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What rescore.json says. before, after: the summaries of the recorded report and of this."""
    each = list(told.results.values())
    totals = {"results": len(each), "left": len(told.left)}
    totals |= {name: sum(one[name] for one in each) for name in ("equal", "kept")}
    totals |= {name: sum(len(one[name]) for one in each) for name in ("differ", "new", "gone")}
    totals["other_code"] = sum(not one["same_code"] for one in each)
    totals["answers"] = sum(one["answers"].get("rows", 0) for one in each)
    totals["answers_other"] = sum(one["answers"].get("other", 0) for one in each)
    was, now = (
        {(row["paper"], row["id"]): row["verdict"] for row in of.get("claims", {}).get("rows", [])}
        for of in (before, after)
    )
    verdicts = [
        {"paper": key[0], "id": key[1], "recorded": was.get(key), "recomputed": now.get(key)}
        for key in dict.fromkeys((*was, *now))
        if was.get(key) != now.get(key)
    ]
    judged = {"recorded": len(was), "recomputed": len(now), "changed": verdicts}
    return {"totals": totals, **told._asdict(), "verdicts": judged}


def said(told: dict[str, Any], place: Path) -> str:
    """The lines to print of `whole`. place: where it was written."""
    total, verdicts = told["totals"], told["verdicts"]
    lines = [
        f"{total['results']} results recomputed without a model ({total['other_code']} were made "
        f"by other code), {total['left']} could not be",
        f"{total['equal']} metrics are equal, {total['differ']} differ, {total['new']} are new, "
        f"{total['gone']} are gone; {total['kept']} more only a model gives",
        f"{total['answers_other']} of {total['answers']} rows of answers are scored otherwise",
    ]
    apart = [
        (abs(of["difference"]), f"{path} {name}: {of['recorded']:.6g} -> {of['recomputed']:.6g}")
        for path, one in told["results"].items()
        for name, of in one["differ"].items()
    ]
    lines += _some([line for _, line in sorted(apart, key=lambda pair: -pair[0])])
    lines += _some([f"{path}: left as recorded: {why}" for path, why in told["left"].items()])
    lines += _some([f"changed since it was made: {said}" for said in told["changed"]])
    if not verdicts["recorded"]:
        lines.append(f"the recorded report has no verdicts; here are {verdicts['recomputed']}")
    else:
        lines.append(f"{len(verdicts['changed'])} of {verdicts['recomputed']} verdicts changed")
        lines += _some(
            [
                f"{row['paper']} {row['id']}: {row['recorded']} -> {row['recomputed']}"
                for row in verdicts["changed"]
            ]
        )
    return "\n".join([*lines, f"{place}/index.html", f"{place}/rescore.json"])


def _some(lines: list[str]) -> list[str]:
    """The first SHOWN of some lines, and how many more there are."""
    more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return [f"  {line}" for line in (*lines[:SHOWN], *more)]
