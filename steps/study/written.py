"""The page's tables in Markdown, for other places than the page."""

from pathlib import Path
from typing import Any

from steps.study import credit, diffing, matrix, tables
from steps.study.claims import page as claims
from steps.study.markup import shown


def write(summary: dict[str, Any], folder: Path) -> None:
    """The page's tables in Markdown: results, costs and configurations of each base."""
    folder.mkdir()
    (folder / "claims.md").write_text(claims.text_table(summary["claims"]))
    arms = matrix.wide(summary["ran"])
    for base, groups in summary["results"].items():
        (folder / f"results-{base}.md").write_text(results(groups, arms))
        costs = [
            [row["label"], *(tables.cost(row, arm) for arm in arms)]
            for row in summary["costs"][base]
        ]
        (folder / f"costs-{base}.md").write_text(tables.markdown(["", *arms], costs))
        if told := summary["credit"][base]:
            (folder / f"credit-{base}.md").write_text(credit.markdown(told))
        if summary["diff"][base]["lines"]:
            (folder / f"diffing-{base}.md").write_text(diffing.text(summary, base))
        told = summary["configs"][base]
        rows = [[key, *map(str, row.values())] for key, row in told["differ"].items()]
        (folder / f"configs-{base}.md").write_text(tables.markdown(["", *told["arms"]], rows))


def results(groups: list[dict[str, Any]], arms: list[str]) -> str:
    """Tables of a summary in Markdown: arms, then what stands beside them."""
    parts, sides = [], list(dict.fromkeys([*matrix.SIDES, *matrix.beside(groups)]))
    for group in groups:
        fine = group["unit"] != "points"
        rows = [
            [row["label"], *(_cell(row["arms"].get(arm), fine) for arm in arms)]
            + [
                shown(row["baselines"][s]["mean"], fine) if s in row["baselines"] else ""
                for s in sides
            ]
            for row in group["rows"]
        ]
        parts.append(f"## {group['title']}\n\n{group['caption']}\n\n")
        parts.append(tables.markdown(["", *arms, *sides], rows) + "\n")
    return "".join(parts)


def _cell(told: dict[str, Any] | None, fine: bool) -> str:
    """Mean, and differences to what the arm is compared with, with their intervals."""
    if told is None:
        return "–"
    parts = [shown(told["mean"], fine)]
    for other, change in tables.changes(told).items():
        if change["mean"] is not None:
            ends = [shown(change[e], fine, True) for e in ("low", "high") if change[e] is not None]
            interval = f" [{', '.join(ends)}]" if ends else ""
            parts.append(f"− {other}: {shown(change['mean'], fine, True)}{interval}")
    return "; ".join(parts)
