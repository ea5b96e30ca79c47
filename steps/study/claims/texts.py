"""Claims and verdicts in plain words, and as tables in Markdown and LaTeX."""

from statistics import fmean
from typing import Any

from steps.study import latex, markup, tables
from steps.study.claims.decide import ALPHA, SILENT

HEAD = ("claim", "verdict", "effect [interval]", "units", "controls", "why")
COLUMNS = "p{.3\\textwidth}llrp{.2\\textwidth}p{.2\\textwidth}"
"""The same as LaTeX sets them."""


def how(told: dict[str, Any]) -> str:
    """How the verdicts were come to, in a paragraph."""
    level = f"{100 * (1 - told['alpha']):g} %"
    return (
        f"A unit is a seed of a base, on which all arms share questions and draws; intervals are "
        f"{level} t intervals over units, with bases as strata (on a "
        "benchmark, over units and questions): they speak of these bases, on other draws, and it "
        f"is said where bases differ (p < .05, uncorrected). Below {told['fewest']} units "
        "nothing is decided. Primary claims (in bold) are decided together, paper by paper (Holm); "
        "the others are described, corrected by Benjamini and Hochberg. Equivalent: within the "
        "smallest effect of interest by two one-sided tests."
    )


def effect(row: dict[str, Any]) -> str:
    """Estimate and interval of a claim in words, and the bar they are beyond; a dash without."""
    if not row.get("estimate"):
        return "–"
    told = _with_interval(row["estimate"], row["unit"] == "raw")
    return f"{told} beyond {bar:g}".replace("-", "−") if (bar := row.get("bar")) else told


def controls(row: dict[str, Any]) -> list[str]:
    """A line for each control: its own effect, and whether it explains the claim's."""
    lines = []
    for name, told in row.get("controls", {}).items():
        if "estimate" not in told:
            lines.append(f"{name}: not there")
            continue
        own = _with_interval(told["estimate"], row["unit"] == "raw")
        lines.append(f"{name}: {own}{', explains it' if told['explains'] else ''}")
    return lines


def known(row: dict[str, Any]) -> list[str]:
    """A line for each effect that has to be seen: what it came to, and whether it was seen.

    No lines for rows of reports from before this was told.
    """
    return [
        f"{name} ({told['effect']}): {effect({**told, 'unit': row['unit']})}, "
        f"{'seen' if told['seen'] else 'not seen'}"
        for name, told in row.get("known", {}).items()
    ]


def reason(row: dict[str, Any]) -> str:
    """Why a verdict is what it is, what to mind, and how many units would decide an open one."""
    said = [row["why"]]
    silent = row["why"].startswith(SILENT)
    if row["verdict"] == "inconclusive" and row.get("enough") and not silent:
        said.append(f"{row['enough']} units would tell")
    if row["verdict"] in ("equivalent", "contradicted") and row.get("sees") == {}:
        said.append("no effect that is known to be there was asked for")
    return "; ".join([*said, *(_minded(row) if row.get("estimate") else [])])


def _minded(row: dict[str, Any]) -> list[str]:
    """What a mean over units hides. Rows of reports from before this was told say nothing."""
    one, said = row["estimate"], []
    if one["n"] < row.get("meant", 0):
        said.append(f"there in {one['n']} of {row['meant']} units")
    if one["error"] == 0 and one["n"] > 1:
        said.append("the same in every unit: is the metric at its end?")
    if row.get("apart") is not None and row["apart"] < ALPHA:
        fine = row["unit"] == "raw"
        means = (
            f"{base} {shown(fmean(value for _, value in values), fine)}"
            for base, values in row["units"].items()
        )
        said.append(f"bases differ: {', '.join(means)}")
    return said


def sign(row: dict[str, Any]) -> str:
    """The published sign in a word."""
    return {1: "more", -1: "less", 0: "no difference"}[row["sign"]]


def _rows(told: dict[str, Any], paper: str, primary: str, other: str) -> list[list[str]]:
    """A paper's rows under HEAD; primary, other: how a claim is written, of its `id` and `says`."""
    return [
        [
            (primary if row["primary"] else other).format(**row),
            row["verdict"],
            effect(row),
            str(row["estimate"]["n"]) if row.get("estimate") else "–",
            "; ".join(controls(row)) or "–",
            reason(row),
        ]
        for row in told["rows"]
        if row["paper"] == paper
    ]


def markdown(told: dict[str, Any]) -> str:
    """The verdicts in Markdown, paper by paper; primary claims are bold."""
    parts = [f"{told['caution']} Scope: {told['scope']}. {how(told)}\n\n"]
    for name, paper in told["papers"].items():
        table = tables.markdown(list(HEAD), _rows(told, name, "{id}. **{says}**", "{id}. {says}"))
        parts.append(f"## {paper['name']}\n\n{paper['source']}\n\n{table}\n")
        asked: dict[str, list[str]] = {}
        for row in told["rows"]:
            for line in known(row) if row["paper"] == name else ():
                asked.setdefault(line, []).append(row["id"])
        lines = [f"- for {', '.join(claims)}: {line}\n" for line, claims in asked.items()]
        if lines:
            parts += ["Has to be seen before a claim is denied:\n\n", *lines, "\n"]
    return "".join(parts)


def tex(told: dict[str, Any]) -> str:
    """The verdicts in LaTeX, a table for each paper; primary claims have a star."""
    parts = []
    for name, paper in told["papers"].items():
        rows = _rows(told, name, "{id}*. {says}", "{id}. {says}")
        caption = f"{paper['name']} ({paper['source']}). {told['caution']} Scope: {told['scope']}."
        parts.append(latex.table(HEAD, rows, caption, COLUMNS))
    return "\n".join(parts)


def _with_interval(one: dict[str, Any], fine: bool) -> str:
    told = shown(one["mean"], fine)
    if one["low"] is None:
        return told
    return f"{told} [{shown(one['low'], fine)}, {shown(one['high'], fine)}]"


def shown(value: float, fine: bool) -> str:
    """An effect with its sign: points with one decimal, others (`fine`) with two figures."""
    if fine and 0 < abs(value) < 0.01:
        return f"{value:+.2g}".replace("-", "−")
    return markup.shown(value, fine, True)
