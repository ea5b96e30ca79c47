"""The card of two checkpoints: one file, no script, nothing fetched; its numbers: summary.json."""

import base64
from pathlib import Path
from string import Template
from typing import Any

from steps.study import markup
from steps.study.markup import plain, text

SHOWN = {
    "segment/base/maps.png": "Segmentation maps of the base's probes",
    "segment/arm/maps.png": "Segmentation maps of the arm's probes",
    "localise/base/gallery.png": "Where the base's losses look",
    "localise/arm/gallery.png": "Where the arm's losses look",
    "drift/arm/drift.png": "The arm's eye beside the base's, layer by layer",
}
"""Pictures that stages leave, and what they show."""


def pictures(work: Path) -> dict[str, str]:
    """Those of SHOWN that are there, as data URIs, by caption."""
    there = {caption: work / name for name, caption in SHOWN.items() if (work / name).is_file()}
    return {
        caption: "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
        for caption, path in there.items()
    }


def render(summary: dict[str, Any], drawn: dict[str, str]) -> str:
    """The card as HTML, light or dark as the reader's screen is."""
    models = summary["models"]
    head = plain(
        ["", "folder", "content (sha256)"],
        [[name, told["path"], told["sha256"]] for name, told in models.items()],
        "text",
    )
    parts = [_part("Figures", _figures(summary["rows"]))]
    if summary["notes"]:
        notes = "".join(f"<p>{text(note)}</p>" for note in summary["notes"])
        parts.append(_part("Left out", f'<div class="missing">{notes}</div>'))
    differ = summary["config"]
    told = plain(["key of config.json", "base", "arm"], differ, "text") if differ else ""
    parts.append(_part("Configuration", told or "<p>No key differs.</p>"))
    images = "".join(
        markup.figure(f'<img src="{uri}" alt="{text(caption)}">', caption)
        for caption, uri in drawn.items()
    )
    parts.append(_part("Pictures", images or "<p>None.</p>"))
    name = Path(models["arm"]["path"]).name
    title = f"{name} beside its base"
    lead = (
        "One draw of items and of probes: intervals are 95 % bootstraps over items, paired, and "
        "say nothing of other seeds of training. A study with an arm of method checkpoint does."
    )
    page = Template(Path(__file__).with_name("page.html").read_text())
    body = (
        f'<header><p class="kicker">A look at two checkpoints</p><h1>{text(title)}</h1>{head}'
        f'<p class="note">{lead}</p></header><main>{"".join(parts)}</main>'
        "<footer>The same numbers: <code>summary.json</code>.</footer>"
    )
    return page.substitute(title=text(title), body=body)


def _part(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _figures(rows: list[dict[str, Any]]) -> str:
    parts, head = [], ["", "base", "arm", "arm − base", "95 % interval", "items"]
    for group in dict.fromkeys(row["group"] for row in rows):
        cells = [
            [
                text(row["label"]),
                _number(row["base"]),
                _number(row["arm"]),
                _number(row.get("difference"), True),
                f"{_number(row['low'], True)} to {_number(row['high'], True)}"
                if "low" in row
                else "–",
                text(row["n"] or "–"),
            ]
            for row in rows
            if row["group"] == group
        ]
        parts.append(f"<h3>{text(group)}</h3>{markup.table(head, cells)}")
    return "".join(parts) or "<p>No instrument fitted.</p>"


def _number(value: float | None, signed: bool = False) -> str:
    if value is None:
        return "–"
    value = round(value, 4) + 0.0
    return (f"{value:+.4f}" if signed and value else f"{value:.4f}").replace("-", "−")
