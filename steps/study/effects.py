"""How large the noise of seeds is beside each effect: a study's figures on one page for docs/.

For every row of a study's report: what each arm differs by from the untouched base (and what the
tower from before it met the language model gives), how far that scatters over seeds (pooled over
the arms that ran on all of them), and how large a difference has to be for so many seeds to find
it. What lies below says nothing of whether there is an effect.
"""

import json
from pathlib import Path
from typing import Any

from steps.study import stats, tables
from steps.study.markup import shown

INTRO = """Points, or the unit of a table's caption in the report; arms as differences to the
untouched base. Original: the tower from before it met the language model. Noise: standard deviation
over seeds of the paired differences to the untouched base, pooled over the arms on all {seeds}
seeds. Found: the smallest true difference that a paired t test finds with power {power:g}. A
difference with a star has an interval ({confidence:.0%}) without 0; of {rows} rows that scatter x
{arms} arms at most about {chance} would have by chance alone. Arms on one seed alone have no
interval, and no part in the noise.
"""


def page(summary: dict[str, Any], params: Any, base: str) -> str:
    """The page of a base, in Markdown, from a finished report's summary.json."""
    told = params.report
    arms = [arm for arm in params.arms if params.arms[arm].method != "none"]
    full = [arm for arm in arms if arm in tables.everywhere(params)]
    parts, rows = [], 0
    for group in summary["results"][base]:
        lines = []
        whole = group["unit"] != "points"  # elsewhere an inner row is a class, or a label, of many
        for row in (row for row in group["rows"] if whole or not row["inner"]):
            apart = tables.gaps(row)
            sd = stats.pooled([apart.get(arm, []) for arm in full])
            if sd is None:
                continue
            rows += sd > 0
            found = stats.smallest(sd, len(params.seeds), told.power, told.confidence)
            cells = [_cell(row["arms"].get(arm, {}).get("minus_none")) for arm in arms]
            noise = [shown(value, True) for value in (sd, found) if value is not None]
            lines.append([row["label"], _value(row, "none"), _original(row), *noise, *cells])
        if lines:
            head = [group["title"], "base", "original", "noise", "found", *arms]
            parts.append(tables.markdown(head, lines))
    chance = round(rows * len(full) * (1 - told.confidence))
    intro = INTRO.format(
        seeds=len(params.seeds),
        power=told.power,
        confidence=told.confidence,
        rows=rows,
        arms=len(full),
        chance=chance,
    )
    return f"# {params.study.title}: effects beside noise\n\n{intro}\n" + "\n".join(parts)


def _value(row: dict[str, Any], arm: str) -> str:
    mean = row["arms"].get(arm, {}).get("mean")
    return "" if mean is None else shown(mean)


def _original(row: dict[str, Any]) -> str:
    told = row["baselines"].get("original")
    return shown(told["mean"]) if told else ""


def _cell(told: dict[str, Any] | None) -> str:
    if told is None or told["mean"] is None:
        return ""
    apart = told["low"] is not None and not told["low"] <= 0 <= told["high"]
    return shown(told["mean"], fine=True, signed=True) + " *" * apart


def write(params: Any, results: Path, base: str, docs: Path) -> Path:
    """Write the page of a finished study to docs/; raises FileNotFoundError without its report."""
    summary = json.loads((results / "report" / "summary.json").read_text())
    path = docs / f"effects-{params.study.name}-{base}.md"
    path.write_text(page(summary, params, base))
    return path
