"""The picture of what drives features and answers: maps of heads, and on how few it rests."""

from pathlib import Path

import numpy as np

from steps.diff.drivers.concentration import lorenz
from steps.diff.drivers.driving import Driven, mean
from steps.diff.turning.rotation import AFTER, DRIFT, INK

BLUE = "#2f6690"
NAMES = {"margin": "the answer", "chosen": "spatial features", "random": "random features"}
COLOURS = {"margin": BLUE, "chosen": AFTER, "random": DRIFT}
UNITS = {"margin": "nats of the true relation's log-odds", "chosen": "standard deviations"}
FULL = 80  # heads up to which each one's number is written into its cell


def figure(driven: Driven, path: Path) -> None:
    """A PNG of drives by head for the answer and spatial features, and a Lorenz curve of each kind.

    Exact drives where all heads were patched, else by gradients; grey where no target is reached.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    effects = mean(driven.best(), 1)
    maps = {kind: mean(effects[driven.of(kind)], 0) for kind in UNITS if len(driven.of(kind))}
    colours = LinearSegmentedColormap.from_list("drive", [BLUE, "#ffffff", AFTER])
    colours = colours.with_extremes(bad="#e6e6e6")
    with plt.rc_context({"font.size": 10, "axes.edgecolor": INK, "text.color": INK}):
        plot, axes = plt.subplots(
            1, len(maps) + 1, figsize=(4.1 * len(maps) + 3.9, 4.2), dpi=150, layout="constrained"
        )
        for place, (kind, found) in zip(axes[:-1], maps.items(), strict=True):
            top = max(float(np.nanmax(np.abs(found))), 1e-9)
            image = place.imshow(
                found, cmap=colours, vmin=-top, vmax=top, origin="lower", aspect="auto"
            )
            if found.size <= FULL:
                for (layer, head), value in np.ndenumerate(found):
                    shade = "white" if abs(value) > 0.6 * top else INK
                    text = "" if np.isnan(value) else f"{value:+.2f}"
                    place.text(head, layer, text, ha="center", va="center", fontsize=8, color=shade)
            for axis in (place.xaxis, place.yaxis):
                axis.set_major_locator(MaxNLocator(integer=True, nbins=9))
            place.set_xlabel("head")
            place.set_ylabel("layer")
            place.set_title(f"Heads that drive {NAMES[kind]}", loc="left", weight="bold")
            plot.colorbar(image, ax=place, label=UNITS[kind], shrink=0.9)
        for kind, name in NAMES.items():
            if not len(mine := driven.of(kind)):
                continue
            some = [lorenz(one[~np.isnan(one)]) for one in effects[mine]]
            grid = np.linspace(0, 1, 201)
            curve = np.mean([np.interp(grid, np.linspace(0, 1, len(x)), x) for x in some], 0)
            axes[-1].plot(grid, curve, color=COLOURS[kind], lw=1.8, label=name)
        axes[-1].plot([0, 1], [0, 1], color=INK, lw=1, ls=(0, (4, 3)), label="all heads alike")
        for axis in (axes[-1].xaxis, axes[-1].yaxis):
            axis.set_major_formatter(PercentFormatter(1))
        axes[-1].set_xlim(0, 1)
        axes[-1].set_ylim(0, 1)
        axes[-1].set_xlabel("heads, strongest first")
        axes[-1].set_ylabel("share of all effect")
        axes[-1].set_title("On how few it rests", loc="left", weight="bold")
        axes[-1].spines[["top", "right"]].set_visible(False)
        axes[-1].legend(frameon=False, fontsize=8.5, loc="lower right")
        plot.savefig(path, metadata={"Software": None})  # no version inside: equal bytes
        plt.close(plot)
