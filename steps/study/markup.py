"""Small pieces of HTML, all text escaped: models' answers are not to be trusted."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from steps.study.tables import number


def text(value: Any) -> str:
    """Any text, safe inside an element and inside a quoted attribute."""
    return escape(str(value), quote=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], style: str = "plain") -> str:
    """A table of ready cells: the first column is a heading of its row."""
    top = "".join(f'<th scope="col">{cell}</th>' if cell else "<td></td>" for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{c}</td>" for c in row[1:]) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide" tabindex="0"><table class="{style}">'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def plain(head: Sequence[Any], rows: Iterable[Sequence[Any]], style: str = "plain") -> str:
    """A table of plain text, escaped here."""
    return table([text(c) for c in head], [[text(c) for c in row] for row in rows], style)


def figure(body: str, caption: str) -> str:
    """A picture and how to read it."""
    return f"<figure>{body}<figcaption>{text(caption)}</figcaption></figure>"


def arm(name: str, colours: dict[str, int]) -> str:
    """An arm's name with its colour before it."""
    return f'<span class="arm a{colours.get(name, 0)}">{text(name)}</span>'


def shown(value: float, fine: bool = False, signed: bool = False) -> str:
    """A value with one decimal (two where `fine`), a true minus sign, and a sign if wanted."""
    digits = 2 if fine else 1
    value = round(value, digits) + 0.0  # no minus before a zero
    told = f"{value:+.{digits}f}" if signed and value else f"{value:.{digits}f}"
    return told.replace("-", "−")


def per_arm(rows: list[dict[str, Any]], arms: Sequence[str], colours: dict[str, int]) -> str:
    """A table of plain means: a row for each figure, a column for each arm."""
    head = ["", *(arm(name, colours) for name in arms)]
    body = [[text(row["label"]), *(number(row["arms"].get(name)) for name in arms)] for row in rows]
    return table(head, body)
