"""A paper's claims in one picture: every effect beside the size that would matter."""

import textwrap
from pathlib import Path
from typing import Any

from steps.study.canvas import ARMS, INK, LINE, MUTED, begin, write

EDGE = 4.0
"""Sizes of interest that the axis reaches to; what lies beyond is an arrow at its end."""
APART = 0.22
"""Of a row's height, between the dots of one base and the next."""
LETTERS = 84
"""Of a statement that are shown."""
COLOURS = {
    "replicated": ARMS[4],
    "contradicted": ARMS[3],
    "equivalent": ARMS[2],
    "explained": ARMS[6],
    "inconclusive": ARMS[0],
}


def forests(told: dict[str, Any], folder: Path) -> dict[str, str]:
    """`forest` of every paper that has a claim with an estimate."""
    drawn = {paper: forest(told, paper, folder) for paper in told["papers"]}
    return {paper: svg for paper, svg in drawn.items() if svg}


def forest(told: dict[str, Any], paper: str, folder: Path) -> str | None:
    """Save `claims-<paper>.png` in `folder`; returns it as SVG. None where nothing is measured.

    told: as `judge.told` has it.
    """
    rows = [r for r in told["rows"] if r["paper"] == paper and r.get("estimate")]
    if not rows:
        return None
    plt = begin()
    size = (10.4, 0.75 + 0.235 * len(rows))
    plot, panel = plt.subplots(figsize=size, layout="constrained")
    panel.axvspan(-1, 1, color=LINE, alpha=0.35, lw=0)
    panel.axvline(0, color=MUTED, lw=0.8, ls=(0, (2, 2)))
    for y, row in enumerate(rows):
        scale, colour = (row["sign"] or 1) / row["interest"], COLOURS[row["verdict"]]
        for i, values in enumerate(row["units"].values()):  # bases one below the other
            dots = [_inside(scale * value) for _, value in values]
            level = y + APART * (i - (len(row["units"]) - 1) / 2)
            panel.plot(dots, [level] * len(dots), "o", ms=3, color=colour, alpha=0.35, mew=0)
        one = row["estimate"]
        if one["low"] is not None:
            ends = [_inside(scale * one[end]) for end in ("low", "high")]
            panel.plot(ends, [y, y], color=colour, lw=1.6)
        mean = scale * one["mean"]
        mark = "D" if abs(mean) <= EDGE else (">" if mean > 0 else "<")
        panel.plot([_inside(mean)], [y], mark, ms=5, color=colour, mew=0)
        panel.text(
            1.01, y, row["verdict"], color=colour, fontsize=8, va="center",
            transform=panel.get_yaxis_transform(),
        )  # fmt: skip
    names = [f"{row['id']}  {_short(row['says'])}" for row in rows]
    panel.set_yticks(range(len(rows)), names)
    for label, row in zip(panel.get_yticklabels(), rows, strict=True):
        label.set(color=INK, fontsize=8, fontweight="bold" if row["primary"] else "normal")
    panel.set(xlim=(-EDGE - 0.15, EDGE + 0.15), ylim=(len(rows) - 0.4, -0.6))
    panel.tick_params(length=0)
    panel.set_xlabel("effect, in smallest effects of interest; to the right: as published")
    return write(plot, folder, f"claims-{paper}")


def _inside(value: float) -> float:
    return max(-EDGE, min(EDGE, value))


def _short(text: str) -> str:
    return textwrap.shorten(text, LETTERS, placeholder=" …")
