"""Pictures of the eye for the page: maps of classes, how far layers moved, where losses look."""

from pathlib import Path
from typing import Any

from steps.study import markup
from steps.study.canvas import ARMS, begin, colours, repeated, write
from steps.study.captions import CAPTIONS
from steps.study.collect import Found
from steps.study.rows import family
from steps.study.samples import embedded

PANELS = {
    "cka": "CKA with the reference",
    "procrustes": "Procrustes distance to the reference",
    "knn": "nearest images shared with the reference",
}


def drift(found: Found, params: Any, base: str, folder: Path) -> str | None:
    """A panel for each of PANELS, by layer: a line an arm, the mean over seeds."""
    layers = [layer for _, layer in family(found.names(base), r"drift/cka/(.+)")]
    if not layers:
        return None
    layers = sorted(layers, key=lambda layer: (layer == "proj", len(layer), layer))
    plt, number, again = begin(), colours(params.arms), repeated(params.arms)
    plot, panels = plt.subplots(1, len(PANELS), figsize=(10.4, 2.7), layout="constrained")
    for panel, (measure, title) in zip(panels, PANELS.items(), strict=True):
        for arm in params.arms:
            lines = [found.series(base, arm, f"drift/{measure}/{layer}") for layer in layers]
            if all(lines):
                means = [sum(line.values()) / len(line) for line in lines]
                style = "o--" if arm in again else "o-"
                panel.plot(layers, means, style, color=ARMS[number[arm]], lw=1.2, ms=3, label=arm)
        panel.set_title(title)
        panel.tick_params(axis="x", labelrotation=60)
    panels[0].legend(frameon=False, fontsize=7)
    return write(plot, folder, f"drift-{base}")


def galleries(found: Found, params: Any, base: str, folder: Path) -> dict[str, str]:
    """Each arm's gallery of the first seed that has one, as a data URI, by `gallery-<arm>`."""
    drawn = {}
    for arm in params.arms:
        for seed in params.seeds:
            place = found.folders.get(("localise", base, arm, seed))
            if place and (path := place / "gallery.png").is_file():
                folder.mkdir(exist_ok=True)
                (folder / f"gallery-{base}-{arm}.png").write_bytes(path.read_bytes())
                drawn[f"gallery-{arm}"] = embedded(path.read_bytes())
                break
    return drawn


def section(summary: dict[str, Any], base: str, drawn: dict[str, str]) -> str:
    """A base's part of the page."""
    parts = []
    if "maps" in drawn:
        parts.append(markup.figure(drawn["maps"], CAPTIONS["maps"]))
    if "drift" in drawn:
        parts.append(markup.figure(drawn["drift"], CAPTIONS["drift"]))
    shown = [name for name in drawn if name.startswith("gallery-")]
    for name in shown:
        arm = name.removeprefix("gallery-")
        alt = f"where the losses of {arm} look"
        picture = f'<img src="{drawn[name]}" alt="{markup.text(alt)}" loading="lazy">'
        parts.append(
            f"<details><summary>{markup.text(arm)}: where losses look</summary>"
            f"{markup.figure(picture, CAPTIONS['gallery'])}</details>"
        )
    lacks = "none of segment, drift and localise is an instrument, or none has finished"
    return "".join(parts) or f"<p>Not measured: {lacks}.</p>"
