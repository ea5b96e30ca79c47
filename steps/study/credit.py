"""The comparison of credit rules, for the page and in Markdown."""

from collections.abc import Iterator
from typing import Any

from steps.study import markup, tables
from steps.study.captions import CAPTIONS
from steps.study.contrasts import MEASURES
from steps.study.markup import shown

UNINFORMATIVE = (
    "Uninformative: a premise is not met, so no contrast below may be read for or against a rule."
)
HEAD = ["rule", "against", "difference", "p", "p, Holm", "about"]


def section(summary: dict[str, Any], base: str, drawn: dict[str, str]) -> str:
    """A base's rules on the page: premises, curves and contrasts."""
    told = summary["credit"][base]
    if not told:
        return "<p>No two arms differ in their rule of credit.</p>"
    parts = [markup.plain(["premise", "found", "met"], _premises(told))]
    if not told["informative"]:
        parts.append(f"<p><b>{UNINFORMATIVE}</b></p>")
    if "credit" in drawn:
        parts.append(markup.figure(drawn["credit"], CAPTIONS["credit"]))
    for measure, rows in _contrasts(told):
        parts.append(f"<h3>{markup.text(measure)}</h3>{markup.plain(HEAD, rows)}")
    return "".join(parts)


def markdown(told: dict[str, Any]) -> str:
    """The same without pictures."""
    seeds = ", ".join(map(str, told["seeds"]))
    text = f"# Credit rules\n\nSeeds: {seeds}. Differences are paired over seeds.\n\n"
    text += tables.markdown(["premise", "found", "met"], _premises(told)) + "\n"
    if not told["informative"]:
        text += f"**{UNINFORMATIVE}**\n\n"
    names = {name: name if name == arm else f"{name} ({arm})" for name, arm in told["arms"].items()}
    rows = [
        [names[name], *(shown(of[m]) if m in of else "–" for m in MEASURES)]
        for name, of in told["means"].items()
    ]
    text += tables.markdown(["rule", *MEASURES.values()], rows)
    for measure, rows in _contrasts(told):
        text += f"\n## {measure}\n\n{tables.markdown(HEAD, rows)}"
    return text


def _premises(told: dict[str, Any]) -> list[list[str]]:
    return [[p["what"], interval(p), "yes" if p["met"] else "no"] for p in told["premises"]]


def _contrasts(told: dict[str, Any]) -> Iterator[tuple[str, list[list[str]]]]:
    for measure, label in MEASURES.items():
        rows = [
            [r["one"], r["other"], interval(r), chance(r["p"]), chance(r["holm"]), r["what"]]
            for r in told["rows"]
            if r["measure"] == measure
        ]
        if rows:
            yield label, rows


def chance(p: float) -> str:
    """A p-value as text."""
    return f"{p:.3f}" if p >= 0.0005 else "<0.001"


def interval(told: dict[str, Any]) -> str:
    """A mean and its interval (`stats.plain`) as text."""
    if told["mean"] is None:
        return "–"
    text = shown(told["mean"], True, True)
    if told["low"] is None:
        return text
    return f"{text} [{shown(told['low'], True, True)}, {shown(told['high'], True, True)}]"
