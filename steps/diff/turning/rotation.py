"""The pictures of a comparison: how far features turned, with what drift alone turns."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.ndimage import gaussian_filter

from steps.diff.turning.nulls import FEWEST, NULL, degrees

INK, AFTER, DRIFT, TEXT = "#222222", "#d1495b", "#8d99ae", "#2f6690"
SEEN = LinearSegmentedColormap.from_list("seen", [TEXT, "#c9c4b5", AFTER])
"""Visual energy from 0 (the scene in words) to 1 (the image)."""
TITLES = {
    "x": "x, the model's change (data with images)",
    "y": "y, the data's change (tuned model)",
}
REGIONS = (0.5, 0.9, 0.99)
LEAST, MOST = 0.1, 120.0  # degrees, the ends of logarithmic axes
TICKS = (0.1, 1, 10, 90)
ROW = 2.1  # inches
BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}


def rotation(features: pd.DataFrame, path: Path) -> bool:
    """Histograms of settled features' angles to the child and to the null, a row a site; a PNG.

    Whether there was anything to draw: refused arrows have no histogram.
    """
    names = list(dict.fromkeys(features["site"]))
    plot = Figure(figsize=(8.4, 0.9 + ROW * len(names)), dpi=150, layout="constrained")
    grid = plot.subplots(len(names), 2, squeeze=False, sharex=True)
    drawn = False
    for row, name in zip(grid, names, strict=True):
        mine = features[features["site"] == name]
        for axes, order in zip(row, TITLES, strict=True):
            drawn |= _histogram(axes, mine[mine[f"settled_{order}"]], order)
            axes.set_title(name, loc="left", fontsize=9, weight="bold")
    for axes, title in zip(grid[0], TITLES.values(), strict=True):
        axes.set_title(title, loc="right", fontsize=8.5)
    for axes in grid[-1]:
        axes.set_xlabel("angle between a feature's directions (degrees)")
    for axes in grid[:, 0]:
        axes.set_ylabel("features")
    grey = Line2D([], [], color=DRIFT, lw=7, alpha=0.75, label="null: as many steps, no change")
    red = Line2D([], [], color=AFTER, lw=1.8, label="after the change")
    dash = Line2D([], [], color=INK, lw=1.1, ls="--", label=f"the null's {NULL:.0%}")
    plot.legend(
        handles=[grey, red, dash], loc="outside upper left", ncols=3, frameon=False, fontsize=8.5
    )
    return _keep(plot, path, drawn)


def _histogram(axes: Axes, settled: pd.DataFrame, order: str) -> bool:
    _bare(axes)
    if len(settled) < FEWEST:
        axes.text(0.5, 0.5, _why(settled), transform=axes.transAxes, ha="center", color=INK)
        axes.set_yticks([])
        return False
    after, null = (_shown(settled[f"{name}_{order}"]) for name in ("cosine", "null"))
    bins = np.geomspace(LEAST, MOST, 56)
    axes.hist(null, bins, color=DRIFT, alpha=0.75)
    axes.hist(after, bins, color=AFTER, histtype="step", lw=1.6)
    limit = float(degrees(settled[f"null_{order}"].quantile(NULL)))
    axes.axvline(limit, color=INK, lw=1.1, ls=(0, (4, 3)))
    said = f"beyond {limit:.1f}°: {settled[f'beyond_{order}'].mean():.0%}"
    said += f"\n10° beyond the own null: {settled[f'paired_{order}'].mean():.0%}"
    axes.text(0.015, 0.96, said, transform=axes.transAxes, va="top", fontsize=8, bbox=BEHIND)
    axes.set(xscale="log", yscale="log", xlim=(LEAST, MOST))
    axes.set_ylim(0.7, axes.get_ylim()[1] * 3)
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    return True


def orders(features: pd.DataFrame, path: Path) -> bool:
    """Each feature's angle in one order against the other, a panel a site, by visual energy; a PNG.

    Contours hold 50, 90 and 99 % of the null pairs: the same parents carried on without change.
    Dashed lines are the nulls' 1 % quantiles; beyond both is the corner. Whether there was
    anything to draw.
    """
    names = list(dict.fromkeys(features["site"]))
    wide = 2 if len(names) == 4 else min(len(names), 3)
    tall = -(-len(names) // wide)
    size = max(2.9 * wide, 4.4) + 0.9, max(2.9, 4.4 / wide) * tall + 0.7
    plot = Figure(figsize=size, dpi=150, layout="constrained")
    panels = plot.subplots(tall, wide, squeeze=False)
    drawn = False
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels.flat, names, strict=False):
        both = features[(features["site"] == name) & features["settled_x"] & features["settled_y"]]
        drawn |= _scatter(axes, both)
        axes.set_title(name, loc="left", fontsize=9, weight="bold")
    plot.supxlabel("x: degrees turned by the model's change", fontsize=9)
    plot.supylabel("y: degrees turned by the data's change", fontsize=9)
    if drawn:
        dots = next(part for axes in panels.flat for part in axes.collections if part.get_label())
        bar = plot.colorbar(dots, ax=panels, shrink=0.7, aspect=30, ticks=[0, 0.5, 1])
        bar.solids.set_alpha(1)
        bar.ax.tick_params(labelsize=8)
        bar.set_label("visual energy: words (0) to image (1)", fontsize=8.5)
        line = Line2D([], [], color=INK, lw=1, label="50, 90, 99 % of the null")
        dash = Line2D([], [], color=INK, lw=1, ls="--", label=f"the nulls' {NULL:.0%}")
        plot.legend(
            handles=[line, dash], loc="outside upper left", ncols=2, frameon=False, fontsize=8.5
        )
    return _keep(plot, path, drawn)


def _scatter(axes: Axes, both: pd.DataFrame) -> bool:
    _bare(axes)
    axes.set(xscale="log", yscale="log", xlim=(LEAST, MOST), ylim=(LEAST, MOST), aspect="equal")
    for set_ticks in (axes.set_xticks, axes.set_yticks):
        set_ticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    if len(both) < FEWEST:
        axes.text(0.5, 0.5, _why(both), transform=axes.transAxes, ha="center", color=INK)
        return False
    x, y, null_x, null_y = (
        _shown(both[f"{name}_{order}"]) for name in ("cosine", "null") for order in "xy"
    )
    # the rarest colours on top, and dots that thin out as there are more of them
    order = np.argsort(np.abs(both["visual"].fillna(0.5) - 0.5).to_numpy(), kind="stable")
    look = {"s": np.clip(2e4 / len(x), 2, 14), "alpha": float(np.clip(900 / len(x), 0.25, 0.8))}
    axes.scatter(
        x[order], y[order], c=both["visual"].fillna(0.5).to_numpy()[order], cmap=SEEN, vmin=0,
        vmax=1, lw=0, rasterized=True, label="features", **look,
    )  # fmt: skip
    _regions(axes, null_x, null_y)
    limits = [float(degrees(both[f"null_{o}"].quantile(NULL))) for o in "xy"]
    for draw, limit in zip((axes.axvline, axes.axhline), limits, strict=True):
        draw(limit, color=INK, lw=1, ls=(0, (4, 3)))
    said = f"corner: {both['corner'].sum()} of {len(both)}"
    axes.text(
        0.98, 0.97, said, transform=axes.transAxes, ha="right", va="top", fontsize=8, bbox=BEHIND
    )
    return True


def _regions(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Contours of the smallest regions that hold REGIONS of the points, by a smoothed histogram."""
    edges = np.linspace(np.log(LEAST) - 1, np.log(MOST) + 1, 141)
    counts, *_ = np.histogram2d(np.log(x), np.log(y), [edges, edges])
    # Scott's rule, in cells: the fewer the points, the smoother
    width = np.hypot(np.log(x).std(), np.log(y).std()) * len(x) ** (-1 / 6) / np.diff(edges)[0]
    density = gaussian_filter(counts, max(width / np.sqrt(2), 1.0))
    ranked = np.sort(density, axis=None)[::-1]
    held = np.cumsum(ranked) / ranked.sum()
    levels = sorted({float(ranked[np.searchsorted(held, share)]) for share in REGIONS})
    middle = np.exp((edges[1:] + edges[:-1]) / 2)
    axes.contour(middle, middle, density.T, levels=levels, colors=INK, linewidths=0.9)


def _shown(cosine: pd.Series) -> np.ndarray:
    """Angles in degrees, brought between the axes' ends."""
    return degrees(cosine.to_numpy()).clip(LEAST * 1.02, MOST / 1.02)


def _why(settled: Sequence | pd.DataFrame) -> str:
    return "refused, or nothing settled" if not len(settled) else f"{len(settled)} features only"


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _keep(plot: Figure, path: Path, drawn: bool) -> bool:
    if drawn:
        plot.savefig(path, metadata={"Software": None})  # no version inside: equal bytes
    return drawn
