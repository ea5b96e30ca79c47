"""The picture of a comparison: how far features turned, with what drift alone turns."""

from pathlib import Path

import numpy as np
import pandas as pd

INK, AFTER, NULL = "#222222", "#d1495b", "#8d99ae"


def figure(features: pd.DataFrame, quantile: float, path: Path) -> None:
    """Histogram of the settled features' angles (degrees) to `after` and to the null, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    settled = features[features["settled"]]
    after, null = _degrees(settled["cosine"]), _degrees(settled["cosine_null"])
    limit = float(_degrees(settled["cosine_null"].quantile(quantile)))
    top = max(45.0, 5 * np.ceil(max(after.max(), null.max()) / 5))
    bins = np.linspace(0, top, 46)
    with plt.rc_context({"font.size": 10, "axes.edgecolor": INK, "text.color": INK}):
        plot, axes = plt.subplots(figsize=(7.2, 4.2), dpi=150, layout="constrained")
        axes.hist(null, bins, color=NULL, alpha=0.75, label="null: as many steps, nothing changed")
        axes.hist(after, bins, color=AFTER, histtype="step", lw=1.8, label="after visual tuning")
        label = f"beyond {limit:.0f}°: null {quantile:.0%}, after {settled['beyond'].mean():.0%}"
        axes.axvline(limit, color=INK, lw=1.2, ls=(0, (4, 3)), label=label)
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        axes.set_xlim(0, top)
        axes.set_xlabel("angle between a feature's direction before and after (degrees)")
        axes.set_ylabel("features")
        axes.set_title(f"How far {len(settled)} features turned", loc="left", weight="bold", pad=26)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(
            frameon=False, ncols=3, fontsize=8.5, loc="lower left", bbox_to_anchor=(-0.01, 1.0),
            handlelength=1.6, columnspacing=1.4, borderaxespad=0.2,
        )  # fmt: skip
        plot.savefig(path, metadata={"Software": None})  # no version inside: equal bytes
        plt.close(plot)


def _degrees(cosine: pd.Series | float) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
