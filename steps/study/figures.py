"""The page's pictures: each a PNG for other places, and an SVG that takes on the page's colours."""

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from steps.study.canvas import ARMS, MUTED, begin, colours, write
from steps.study.rows import PRIMARY
from steps.study.tables import everywhere
from steps.study.wording import CURVES

KEY = (PRIMARY, "reuse/lenient", "vqa/ill_formed", "vqa/grey/lenient")
KEY += ("classify/asked", "classify/never")
SCENES = 3
"""Of each kind of map."""
FRAME = 2
"""Width of the white frame around each square of a sheet, before it is drawn at twice its size."""
COLUMNS = 5
"""Training curves shown for an arm."""


def differences(tables: list[dict[str, Any]], params: Any, base: str, folder: Path) -> str | None:
    """Small multiples: every arm minus the base, each with its t interval, for the key metrics."""
    rows = {row["metric"]: (group, row) for group in tables for row in group["rows"]}
    wanted = [name for name in _key(rows) if len(rows[name][1]["arms"]) > 1]
    arms = [arm for arm in everywhere(params) if arm != "none"]
    if not wanted or not arms:
        return None
    plt, number = begin(), colours(params.arms)
    across = min(4, len(wanted))
    down = -(-len(wanted) // across)
    size = (10.4, down * (0.85 + 0.26 * len(arms)))
    plot, grid = plt.subplots(down, across, figsize=size, layout="constrained", squeeze=False)
    for at, (panel, name) in enumerate(
        zip(grid.flat, wanted + [None] * (grid.size - len(wanted)), strict=True)
    ):
        if name is None:
            panel.set_visible(False)
            continue
        group, row = rows[name]
        panel.axvline(0, color=MUTED, lw=0.8)
        for i, arm in enumerate(arms):
            told, colour = row["arms"].get(arm, {}), ARMS[number[arm]]
            change = told.get("minus_none") or {}
            if change.get("mean") is None:
                continue
            base_seeds = row["arms"]["none"]["seeds"]
            dots = [v - base_seeds[s] for s, v in told["seeds"].items() if s in base_seeds]
            if change["low"] is not None:
                panel.plot([change["low"], change["high"]], [i, i], color=colour, lw=1.6)
            panel.plot([change["mean"]], [i], "D", ms=4.6, color=colour, mew=0)
            panel.plot(dots, [i + 0.28] * len(dots), "o", ms=3.4, color=colour, alpha=0.6, mew=0)
        panel.set_yticks(range(len(arms)), arms if at % across == 0 else [""] * len(arms))
        panel.set_ylim(len(arms) - 0.4, -0.5)
        panel.tick_params(length=0)
        panel.set_title(_title(group, row), fontsize=8.5)
    plot.supxlabel("arm minus base, in points", fontsize=8, color=MUTED)
    return write(plot, folder, f"differences-{base}")


def _key(rows: dict[str, Any]) -> list[str]:
    """The key metrics at hand, then segmentation's and the digits'."""
    more = [m for m in rows if re.fullmatch(r"segment/[^/]+/miou|classify/(digits|captions)", m)]
    never = [m for m in rows if re.fullmatch(r"classify/never\w*(/\w+/top1)?", m)]
    wanted = [m for m in KEY if m in rows] + never[:1] + more
    return list(dict.fromkeys(wanted))[:8]


def _title(group: dict[str, Any], row: dict[str, Any]) -> str:
    part = group["title"].rpartition(": ")[2]
    title = row["label"] if group["title"] == "Answers" else f"{part}: {row['label']}"
    return textwrap.fill(title, 34)


def curves(lines: dict[str, Any], params: Any, base: str, folder: Path) -> str | None:
    """A row of small panels for each arm: its training curves, every seed a line."""
    shown = {
        arm: [name for name in CURVES if name in lines[arm]][:COLUMNS]
        for arm in params.arms
        if lines.get(arm)
    }
    shown = {arm: names for arm, names in shown.items() if names}
    if not shown:
        return None
    plt, number = begin(), colours(params.arms)
    across = max(len(names) for names in shown.values())
    width, height = 10.4, 1.55 * len(shown) + 0.2
    # Margins are known: to work them out for as many panels took longer than to draw them.
    margins = {"left": 0.78 / width, "right": 0.995, "wspace": 0.34, "hspace": 0.75}
    margins |= {"top": 1 - 0.36 / height, "bottom": 0.46 / height}
    plot, grid = plt.subplots(
        len(shown), across, figsize=(width, height), gridspec_kw=margins, squeeze=False
    )
    for panels, (arm, names) in zip(grid, shown.items(), strict=True):
        for panel in panels[len(names) :]:
            panel.set_visible(False)
        for panel, name in zip(panels, names, strict=False):
            for points in lines[arm][name].values():
                steps, values = zip(*points, strict=True)
                panel.plot(steps, values, color=ARMS[number[arm]], lw=1.1, alpha=0.75)
            panel.set_title(textwrap.fill(CURVES[name], 26), fontsize=8.5)
            panel.locator_params(nbins=4)
            panel.tick_params(length=2, width=0.5)
        panels[0].set_ylabel(arm, color=ARMS[number[arm]], fontweight="bold", fontsize=9)
    plot.supxlabel("optimiser step", fontsize=8, color=MUTED, y=0.06 / height)
    return write(plot, folder, f"curves-{base}")


def credit(told: dict[str, Any], lines: dict[str, Any], base: str, folder: Path) -> str | None:
    """A small panel for each credit rule: its reward, mean over seeds, over that of plain GRPO."""
    arms = {
        name: arm for name, arm in told.get("arms", {}).items() if "reward" in lines.get(arm, {})
    }
    shown = [name for name in arms if name not in ("uniform", "coin")]  # a coin's reward is its own
    if not shown:
        return None
    plt, across = begin(), min(4, len(shown))
    down = -(-len(shown) // across)
    plot, grid = plt.subplots(
        down, across, figsize=(10.4, 1.9 * down), layout="constrained", squeeze=False,
        sharex=True, sharey=True,
    )  # fmt: skip

    def curve(panel: Any, name: str, colour: str) -> None:
        seeds = [np.array(points) for points in lines[arms[name]]["reward"].values()]
        steps = seeds[0][:, 0]
        values = np.array([points[:, 1] for points in seeds if len(points) == len(steps)])
        mean, error = values.mean(0), values.std(0, ddof=len(values) > 1) / len(values) ** 0.5
        panel.plot(steps, mean, color=colour, lw=1.3)
        panel.fill_between(steps, mean - error, mean + error, color=colour, alpha=0.2, lw=0)

    for panel, name in zip(grid.flat, shown + [""] * (grid.size - len(shown)), strict=True):
        if not name:
            panel.set_visible(False)
            continue
        if "uniform" in arms:
            curve(panel, "uniform", ARMS[0])
        curve(panel, name, ARMS[2])
        panel.set_title(name, fontsize=8.5)
        panel.tick_params(length=2, width=0.5)
    plot.supxlabel("optimiser step", fontsize=8, color=MUTED)
    plot.supylabel("reward", fontsize=8, color=MUTED)
    return write(plot, folder, f"credit-{base}")


def mapped(names: set[str]) -> list[str]:
    """The kinds of map that a sheet has, in its order, by the metrics of segmentation."""
    kinds = {name.split("/")[1] for name in names if name.startswith("segment/")}
    kinds -= {"photos"}  # other images, of which no sheet is drawn
    first = [kind for kind in ("shape", "category", "texture") if kind in kinds]
    return first + sorted(kinds - set(first))


def maps(
    sheets: dict[str, Path], kinds: list[str], params: Any, base: str, folder: Path
) -> str | None:
    """The arms' segmentation maps side by side, cut out of each arm's own sheet (maps.png).

    A sheet has a row for each scene and the columns picture, then truth and prediction of each
    kind in turn, all squares of one size; None where it has not the columns of these kinds.
    """
    from PIL import Image

    read = {}
    for arm in params.arms:
        if arm in sheets:
            with Image.open(sheets[arm]) as picture:
                read[arm] = np.asarray(picture.convert("RGB"))
    if not kinds or not read:
        return None
    first = next(iter(read.values()))
    side, left = divmod(first.shape[1], 1 + 2 * len(kinds))
    if left or first.shape[0] % side:
        return None
    scenes = min(SCENES, first.shape[0] // side)

    def square(sheet: np.ndarray, scene: int, column: int) -> np.ndarray:
        part = sheet[scene * side : (scene + 1) * side, column * side : (column + 1) * side]
        return part[::2, ::2][FRAME:-FRAME, FRAME:-FRAME]  # sheets are drawn at twice their size

    plt = begin()
    across, down, width = 2 + len(read), scenes * len(kinds), 10.4
    height = down * (width - 0.2) / across + 0.36
    edges = {"left": 0.2 / width, "right": 1, "bottom": 0, "top": 1 - 0.36 / height}
    plot, grid = plt.subplots(
        down,
        across,
        figsize=(width, height),
        gridspec_kw={"wspace": 0.03, "hspace": 0.03, **edges},
        squeeze=False,
    )
    for row, panels in enumerate(grid):
        kind, scene = divmod(row, scenes)
        shown = [square(first, scene, 0), square(first, scene, 1 + 2 * kind)]
        shown += [square(sheet, scene, 2 + 2 * kind) for sheet in read.values()]
        for panel, part in zip(panels, shown, strict=True):
            panel.imshow(part, interpolation="none")
            panel.set_axis_off()
        if not scene:
            panels[0].text(
                -0.06, 0, kinds[kind], rotation=90, fontsize=8, ha="right", va="top", color=MUTED,
                transform=panels[0].transData,
            )  # fmt: skip
    for panel, name in zip(grid[0], ["picture", "truth", *read], strict=True):
        panel.set_title(name.replace("_", "_\n"), fontsize=7.5, loc="center", linespacing=1.2)
    return write(plot, folder, f"maps-{base}")
