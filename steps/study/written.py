"""The page's tables in Markdown and LaTeX, for other places than the page."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from steps.study import credit, diffing, latex, matrix, tables
from steps.study.claims import texts
from steps.study.markup import shown


def write(summary: dict[str, Any], folder: Path) -> None:
    """The page's tables in Markdown: results, costs and configurations of each base.

    Verdicts, results and costs, which papers print, in LaTeX as well.
    """
    folder.mkdir()
    (folder / "claims.md").write_text(texts.markdown(summary["claims"]))
    (folder / "claims.tex").write_text(texts.tex(summary["claims"]))
    arms = matrix.wide(summary["ran"])
    for base, groups in summary["results"].items():
        (folder / f"results-{base}.md").write_text(results(groups, arms))
        pages = (latex.table(*told) for told in _results(groups, arms))
        (folder / f"results-{base}.tex").write_text("\n".join(pages))
        costs = [
            [row["label"], *(tables.cost(row, arm) for arm in arms)]
            for row in summary["costs"][base]
        ]
        (folder / f"costs-{base}.md").write_text(tables.markdown(["", *arms], costs))
        caption = f"Budget and dose of each arm on the base {base}, mean over seeds."
        (folder / f"costs-{base}.tex").write_text(latex.table(["", *arms], costs, caption))
        if told := summary["credit"][base]:
            (folder / f"credit-{base}.md").write_text(credit.markdown(told))
        if summary["diff"][base]["lines"]:
            (folder / f"diffing-{base}.md").write_text(diffing.text(summary, base))
        told = summary["configs"][base]
        rows = [[key, *map(str, row.values())] for key, row in told["differ"].items()]
        (folder / f"configs-{base}.md").write_text(tables.markdown(["", *told["arms"]], rows))


def results(groups: list[dict[str, Any]], arms: list[str]) -> str:
    """Tables of a summary in Markdown: arms, then what stands beside them."""
    told = zip(groups, _results(groups, arms), strict=True)
    return "".join(
        f"## {group['title']}\n\n{group['caption']}\n\n{tables.markdown(head, rows)}\n"
        for group, (head, rows, _) in told
    )


def _results(
    groups: list[dict[str, Any]], arms: list[str]
) -> Iterator[tuple[list[str], list[list[str]], str]]:
    """Each table's head, rows and caption."""
    sides = list(dict.fromkeys([*matrix.SIDES, *matrix.beside(groups)]))
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
        yield ["", *arms, *sides], rows, f"{group['title']}. {group['caption']}"


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
