"""Credit rules at equal cost: the reward that each has reached by the time the cheaper is done.

Equal steps are not equal time: a rule that needs a pass of its own is dearer. What a run cost is
in the record beside its folder, which no stage reads, since it is another one each time; so this
is no part of the report and is worked out beside it. Cost is processor time of the whole run: jobs
have one thread each, and wall-clock tells also what else a machine had to do. Runs are compared
within a seed, so those of a seed must be of one machine; `told` leaves out seeds that are not.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steps.study import stats
from steps.study.credit import chance, interval
from steps.study.tables import markdown

LAST = 0.2
"""The share of training that a reward is averaged over, up to where the cheaper rule has ended."""
HEAD = ["rule", "against", "cost of a run", "reward at equal cost", "p"]


def told(summary: dict[str, Any], results: Path, base: str, confidence: float) -> list[list[str]]:
    """Rows of HEAD for each contrast of rules' rewards in a report's summary.json.

    A row has the median over seeds of one rule's cost over the other's, and the mean paired
    difference of their rewards in points, each averaged over the last fifth before the end of the
    cheaper run. Empty where no run has a record.
    """
    credit = summary["credit"].get(base) or {"rows": [], "arms": {}}
    arms, rows = credit["arms"], []
    for one, other in ((r["one"], r["other"]) for r in credit["rows"] if r["measure"] == "reward"):
        ratios, gaps = [], []
        for seed in credit["seeds"]:
            runs = [run for n in (one, other) if (run := _run(results, base, arms[n], seed))]
            if len({host for host, _, _ in runs}) != 1 or len(runs) != 2:
                continue
            (_, cost, line), (_, their_cost, their_line) = runs
            end = min(cost, their_cost)
            gaps.append(100 * (reached(line, end / cost) - reached(their_line, end / their_cost)))
            ratios.append(cost / their_cost)
        if gaps:
            gap, p = interval(stats.plain(gaps, confidence)), chance(stats.p_value(gaps))
            rows.append([one, other, f"{statistics.median(ratios):.2f}", gap, p])
    return rows


def section(rows: list[list[str]]) -> str:
    """The same in Markdown; an empty text where there are no rows."""
    if not rows:
        return ""
    return (
        "\n## At equal cost\n\nThe dearer rule's curve is read where its processor time reaches "
        "that of the cheaper rule's whole run; p is not corrected.\n\n" + markdown(HEAD, rows)
    )


def reached(line: Sequence[Sequence[float]], end: float) -> float:
    """Mean over the last fifth of training before `end`, a share of the steps of `line`.

    line: [step, value] of equal distances, the last one at the end of training. Between two points
    the curve is taken as straight.
    """
    import numpy as np

    steps, values = np.asarray(line, float).T
    stop = end * steps[-1]
    first = max(steps[0], stop - LAST * steps[-1] + (steps[1] - steps[0]))
    return float(np.interp(np.linspace(first, stop, 21), steps, values).mean())


def _run(results: Path, base: str, arm: str, seed: int) -> tuple[str, float, list] | None:
    """Host, processor seconds and reward curve of a run; None where it has no record."""
    place = results / "model" / base / arm / f"seed{seed}"
    try:
        record = json.loads(place.with_name(f"{place.name}.record.json").read_text())
        line = json.loads((place / "curves.json").read_text())["reward"]
    except (OSError, ValueError, KeyError):
        return None
    return record["host"], float(record["cpu_s"]), line
