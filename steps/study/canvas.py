"""What all of the page's pictures share: colours, type, and how they are put into the page."""

import io
import re
from html import escape
from pathlib import Path
from typing import Any

from steps.study.captions import title

INK, MUTED, LINE = "#1d2329", "#68727d", "#d5d9de"
ARMS = ("#7d8894", "#b58900", "#2f78c4", "#cf4a63", "#2c9a74", "#8b62c9", "#c66a21", "#4b9fb0")
"""The untouched base is grey; other arms take colours in their order in params.yaml."""


def colours(arms: Any) -> dict[str, int]:
    """The number of each arm's colour, in `ARMS` and in the page's style."""
    others = [arm for arm in arms if arm != "none"]
    return {"none": 0} | {arm: 1 + i % (len(ARMS) - 1) for i, arm in enumerate(others)}


def repeated(arms: Any) -> set[str]:
    """Arms whose colour an earlier one has. They are hollow or dashed where colour alone names.

    Of more than twice as many arms as colours two look the same.
    """
    others = [arm for arm in arms if arm != "none"]
    return set(others[len(ARMS) - 1 :])


def begin() -> Any:
    """Matplotlib, set up for the page."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update(
        {
            "font.size": 9,
            "text.color": INK,
            "axes.labelcolor": MUTED,
            "axes.edgecolor": LINE,
            "axes.titlesize": 9,
            "axes.titlelocation": "left",
            "axes.titlecolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "svg.fonttype": "none",
            "svg.hashsalt": "sightline",  # the same names of parts every time
            "figure.dpi": 100,
        }
    )
    return plt


def write(plot: Any, folder: Path, name: str) -> str:
    """Save a figure as `<name>.png`, and return it as SVG in the page's own colours."""
    from matplotlib import pyplot as plt

    folder.mkdir(exist_ok=True)
    plot.savefig(folder / f"{name}.png", dpi=150, facecolor="white", metadata={"Software": None})
    plot.set_layout_engine("none")  # it stands; working it out again would cost as much
    text = io.StringIO()
    plot.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    plt.close(plot)
    return _themed(text.getvalue(), name)


def _themed(svg: str, name: str) -> str:
    """An SVG file as a part of the page: no header, own names of parts, colours by variables."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", svg)  # a hundredth of a point is not seen
    svg = re.sub(r"\s*\n\s*", " ", svg)
    svg = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", svg)
    shows, of = title(name)
    label = f'role="img" aria-label="{escape(f"{shows}: {of}")}"'
    svg = re.sub(r'<svg width="[\d.]+pt" height="[\d.]+pt"', f"<svg {label}", svg, count=1)
    svg = re.sub(r' id="([^"]+)"', rf' id="{name}-\1"', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg).replace('href="#', f'href="#{name}-')
    svg = re.sub(r"(font[^;\"]*: [^;\"]*?)'DejaVu Sans'[^;\"]*", r"\1var(--sans)", svg)
    named = {INK: "ink", MUTED: "muted", LINE: "line"}
    named |= {colour: f"arm{i}" for i, colour in enumerate(ARMS)}
    for colour, variable in named.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg
