"""A claim's picture: each unit as a dot, interval by interval, and the effect against the dose."""

from collections.abc import Iterable, Sequence
from typing import Any

from steps.study.canvas import colours, repeated
from steps.study.markup import shown, text

WIDTH, NAMES, LINE = 640, 190, 22
"""Pixels: of the picture, of the names at its left, and of a line."""


def strip(row: dict[str, Any]) -> str:
    """The effect of each unit, base by base, its mean and interval, and those of the controls.

    The band is what is smaller than the smallest effect of interest. row: as `judge.told` has it,
    with an estimate. Returns SVG in the page's colours.
    """
    fine = row["unit"] == "raw"
    lines: list[tuple[str, list[float], dict[str, Any] | None, str]] = [
        (base, [value for _, value in values], None, "units")
        for base, values in row["units"].items()
    ]
    lines.append(("effect", [], row["estimate"], "effect"))
    for name, told in row.get("controls", {}).items():
        if "estimate" in told:
            lines.append((f"control: {name}", [], told["estimate"], "control"))
    ends = _ends(lines, row["interest"])
    height = LINE * len(lines) + 26
    at = _scale(ends)
    low, high = at(-row["interest"]), at(row["interest"])
    parts = [
        f'<rect class="band" x="{low:.1f}" y="0" width="{high - low:.1f}" height="{height - 24}"/>',
        f'<line class="zero" x1="{at(0):.1f}" x2="{at(0):.1f}" y1="0" y2="{height - 24}"/>',
    ]
    for i, (name, dots, one, style) in enumerate(lines):
        y = LINE * i + LINE / 2
        parts.append(f'<text x="0" y="{y + 4:.0f}">{text(name)}</text>')
        for value in dots:
            parts.append(
                f'<circle cx="{at(value):.1f}" cy="{y:.0f}" r="4">'
                f"<title>{shown(value, fine, True)}</title></circle>"
            )
        if one is not None:
            parts.append(_bar(one, y, at, style, fine))
    parts += [
        f'<text class="tick" x="{at(value):.1f}" y="{height - 6}">{shown(value, fine, True)}</text>'
        for value in (ends[0], 0.0, ends[1])
    ]
    label = f"effect {shown(row['estimate']['mean'], fine, True)}, units as dots"
    return _svg(label, height, parts)


def against_dose(row: dict[str, Any]) -> str:
    """Each arm's seeds: how far its tower moved, and what it gained; nothing without two arms."""
    told = {arm: points for arm, points in row.get("dose", {}).items() if points}
    if len(told) < 2:
        return ""
    flat = [point for points in told.values() for point in points]
    top = max(max(x for x, _ in flat), 1e-12)
    low, high = min(0.0, *(y for _, y in flat)), max(0.0, *(y for _, y in flat))
    span, height = (high - low) or 1.0, 220
    number_of, again = colours(row["dose"]), repeated(row["dose"])

    def place(x: float, y: float) -> tuple[float, float]:
        return 60 + (WIDTH - 200) * x / top, 12 + (height - 46) * (high - y) / span

    level = place(0, 0)[1]
    parts = [f'<line class="zero" x1="60" x2="{WIDTH - 130}" y1="{level:.1f}" y2="{level:.1f}"/>']
    for i, (arm, points) in enumerate(told.items()):
        style = f"a{number_of[arm]}{' hollow' if arm in again else ''}"
        parts += [
            f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{text(arm)}</title>'
            "</circle>"
            for x, y in (place(*point) for point in points)
        ]
        y = 20 + 16 * i
        parts.append(f'<circle class="{style}" cx="{WIDTH - 118}" cy="{y - 4}" r="4"/>')
        parts.append(f'<text x="{WIDTH - 108}" y="{y}">{text(arm)}</text>')
    fine = row["unit"] == "raw" or span < 1
    for value in (low, high):
        y = place(0, value)[1]
        parts.append(f'<text x="4" y="{y + 4:.0f}">{shown(value, fine, True)}</text>')
    parts.append(f'<text x="60" y="{height - 6}">0</text>')
    parts.append(
        f'<text class="end" x="{WIDTH - 130}" y="{height - 6}">relative change of the vision tower'
        f" {top:.3g}</text>"
    )
    return _svg("what each arm gained, against how far its vision tower moved", height, parts)


def _bar(one: dict[str, Any], y: float, at: Any, style: str, fine: bool) -> str:
    x = at(one["mean"])
    bar = ""
    if one["low"] is not None:
        bar = f'<line x1="{at(one["low"]):.1f}" x2="{at(one["high"]):.1f}" y1="{y}" y2="{y}"/>'
    mean = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 6}" y2="{y + 6}"/>'
    return f'<g class="{style}">{bar}{mean}<title>{shown(one["mean"], fine, True)}</title></g>'


def _ends(lines: Sequence[tuple[str, list[float], Any, str]], interest: float) -> Sequence[float]:
    values = [-interest, interest]
    for _, dots, one, _ in lines:
        values += dots
        if one is not None:
            values += [one[key] for key in ("mean", "low", "high") if one[key] is not None]
    room = 0.04 * (max(values) - min(values))
    return min(values) - room, max(values) + room


def _scale(ends: Sequence[float]) -> Any:
    low, high = ends
    return lambda value: NAMES + (WIDTH - NAMES - 40) * (value - low) / (high - low)


def _svg(label: str, height: float, parts: Iterable[str]) -> str:
    return (
        f'<svg class="dots" role="img" aria-label="{text(label)}" viewBox="0 0 {WIDTH} {height}">'
        f"{''.join(parts)}</svg>"
    )
