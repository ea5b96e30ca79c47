"""Arms against instruments, as the page shows them: means, seeds as dots, paired differences."""

from collections.abc import Sequence
from typing import Any

from steps.study import markup
from steps.study.canvas import colours
from steps.study.captions import CAPTIONS
from steps.study.markup import text
from steps.study.tables import REFERENCES, changes

SIGNS = {"none": "base", "sft": "SFT", "original": "original"}
SIDES = ("original", "random", "pixels", "chance")
"""What stands beside the arms, in this order; larger encoders, under their own names, follow."""


def arms(summary: dict[str, Any], drawn: dict[str, dict[str, str]]) -> str:
    """Every base's differences as a figure, then its tables."""
    share = f"{100 * summary['headline']['confidence']:g} %"
    parts = [
        '<p class="caption">In each cell: the mean over seeds; each seed as a dot on the row’s own '
        "axis (its ends stand below the row’s name), the mean as a bar, the base’s mean as a "
        "dashed tick; then the paired difference to the base and to SFT with its "
        f"{share} t interval over seeds. Intervals are not corrected for their number: among "
        "many, some exclude zero by chance.</p>"
    ]
    for base, groups in summary["results"].items():
        if len(summary["results"]) > 1:
            parts.append(f"<h3>Base: {text(base)}</h3>")
        if svg := drawn.get(base, {}).get("differences"):
            parts.append(markup.figure(svg, CAPTIONS["differences"]))
        for group in groups:
            parts.append(_group(group, wide(summary["ran"]), colours(summary["ran"]["arms"])))
        if not groups:
            parts.append("<p>No instrument has finished on this base.</p>")
    return "".join(parts)


def beside(groups: list[dict[str, Any]]) -> list[str]:
    """The columns beside the arms that some row of these tables has."""
    there = dict.fromkeys(s for g in groups for row in g["rows"] for s in row["baselines"])
    return [s for s in SIDES if s in there] + [s for s in there if s not in SIDES]


def wide(ran: dict[str, Any]) -> list[str]:
    """The arms of all seeds; those of the first few are controls, with a table of their own."""
    return [arm for arm, of in ran["arms"].items() if not of["control"]]


def _group(group: dict[str, Any], arms: list[str], number_of: dict[str, int]) -> str:
    sides = beside([group])
    fine = group["unit"] != "points"
    columns = '<col class="name">' + "<col>" * len(arms) + '<col class="side">' * len(sides)
    head = ["", *(markup.arm(name, number_of) for name in arms), *sides]
    rows = []
    for row in group["rows"]:
        label = (
            f'<span class="inner">{text(row["label"])}</span>'
            if row["inner"]
            else text(row["label"])
        )
        low, high = domain(row, arms, 0.2 if fine else 2.0)
        if low < high:
            ends = f"{markup.shown(low, fine)} … {markup.shown(high, fine)}"
            label += f'<span class="ends{" inner" if row["inner"] else ""}">{ends}</span>'
        cells = [cell(row, name, (low, high), fine, number_of[name]) for name in arms]
        for side in sides:
            told = row["baselines"].get(side)
            value = markup.shown(told["mean"], fine) if told else ""
            cells.append(f'<b class="mean">{value}</b>' if told else "")
        rows.append([label, *cells])
    table = markup.table(head, rows, "arms").replace(
        "<thead>", f"<colgroup>{columns}</colgroup><thead>", 1
    )
    least = 168 + 142 * len(arms) + 58 * len(sides)
    table = table.replace("<table ", f'<table style="--least:{least}px" ', 1)
    return f'<h3>{text(group["title"])}</h3><p class="caption">{text(group["caption"])}</p>{table}'


def domain(row: dict[str, Any], arms: Sequence[str], least: float) -> tuple[float, float]:
    """Where a row's strips begin and end: all seeds of `arms`, at least `least` wide.

    Both are 0 where none of them has a value.
    """
    values = [v for arm in arms if arm in row["arms"] for v in row["arms"][arm]["seeds"].values()]
    if not values:
        return 0.0, 0.0
    low, high = min(values), max(values)
    spare = max(0.0, least - (high - low)) / 2
    return low - spare, high + spare


def strip(told: dict[str, Any], ends: tuple[float, float], base: float | None, colour: int) -> str:
    """One arm's seeds as dots on a line, their mean as a bar, the base's mean as a faint tick."""
    low, high = ends

    def at(value: float) -> str:
        return f"{6 + 108 * (value - low) / (high - low):.1f}"

    seeds = ", ".join(f"{seed}: {value:.2f}" for seed, value in told["seeds"].items())
    parts = [f"<title>seeds {seeds}</title>", '<path class="axis" d="M4 9H116"/>']
    if base is not None:
        parts.append(f'<path class="ref" d="M{at(base)} 1V17"/>')
    parts.append(f'<path class="mean" d="M{at(told["mean"])} 3V15"/>')
    parts += [f'<circle cx="{at(v)}" cy="9" r="3.4"/>' for v in told["seeds"].values()]
    return f'<svg class="strip a{colour}" viewBox="0 0 120 18" role="img">{"".join(parts)}</svg>'


def cell(row: dict[str, Any], name: str, ends: tuple[float, float], fine: bool, colour: int) -> str:
    """One arm under one instrument: mean, seeds, and what it differs by.

    ends: of the row's strips. fine: two decimals, where the unit is not points.
    """
    told = row["arms"].get(name)
    if told is None:
        return '<span class="none">not there</span>'
    base = row["arms"].get("none", {}).get("mean")
    lines = [f'<b class="mean">{markup.shown(told["mean"], fine)}</b>']
    lines.append(strip(told, ends, base, colour))
    for other, change in changes(told).items():
        if change["mean"] is not None and not (name == "none" and other in REFERENCES):
            sign = text(SIGNS.get(other, other))
            lines.append(f'<span class="change"><i>− {sign}</i> {difference(change, fine)}</span>')
    return "".join(lines)


def difference(change: dict[str, Any], fine: bool = False) -> str:
    """A paired difference and its interval, as text."""
    if change["low"] is None:
        return markup.shown(change["mean"], fine, True)
    ends = f"{markup.shown(change['low'], fine, True)}, {markup.shown(change['high'], fine, True)}"
    return f"{markup.shown(change['mean'], fine, True)} <small>[{ends}]</small>"


def assay(summary: dict[str, Any], base: str, drawn: dict[str, str]) -> str:
    """A base's controls of known effect, each minus the base, and what was blind to them."""
    told, number_of = summary["assay"][base], colours(summary["ran"]["arms"])
    if not told["rows"]:
        return "<p>No control of known effect ran (arms with seeds: 1).</p>"
    controls = [a for a in summary["ran"]["arms"] if any(a in r["arms"] for r in told["rows"])]
    rows = []
    for row in told["rows"]:
        limit = "–" if row["limit"] is None else f"± {markup.shown(row['limit'], True)}"
        cells = [row["arms"].get(arm) for arm in controls]
        rows.append([text(row["label"]), *map(_seen, cells), limit])
    head = ["", *(f"{markup.arm(arm, number_of)} − base" for arm in controls), "noise"]
    lead = (
        "Controls whose effect is known beforehand, on the first seed, each minus the base. Noise: "
        "where one more such difference would lie if it were nothing, from the spread of the other "
        "arms over seeds. What lies beyond is marked."
    )
    blind = (
        "An eye that was told what there is to see is not seen by: "
        f"{', '.join(told['blind'])}. Of these no 'no effect' may be read for any arm."
    )
    warning = f'<p class="caption"><b>{text(blind)}</b></p>' if told["blind"] else ""
    return f'<p class="caption">{text(lead)}</p>{markup.table(head, rows)}{warning}'


def _seen(told: dict[str, Any] | None) -> str:
    if told is None:
        return "–"
    shown = markup.shown(told["difference"], True, True)
    return f"<b>{shown}</b>" if told["seen"] else shown
