"""Small pictures that live inside a page: PNGs as data URIs, plots as SVG. Nothing is fetched.

Activations have one scale a feature, in LEVELS steps of one ramp (ColorBrewer's YlOrRd, lightness
falling throughout, so that it reads without hues too): the same for patches and words.
"""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd
from PIL import Image

RAMP = "ffffcc ffeda0 fed976 feb24c fd8d3c fc4e2a e31a1c bd0026 800026".split()
LEVELS = len(RAMP)
VEIL = 215  # opacity of a patch that fires, of 255
SMALL = 128  # pixels of a picture's longer side, at most
OWN, NULL, INK = "#d1495b", "#8d99ae", "#222222"


def level(values: np.ndarray, top: float) -> np.ndarray:
    """Steps of the scale that ends at `top`: 0 where a feature does not fire, else 1 .. LEVELS."""
    steps = np.ceil(LEVELS * np.asarray(values, float) / max(top, 1e-30) - 1e-9)
    return np.where(np.asarray(values) > 0, steps.clip(1, LEVELS), 0).astype(int)


def uri(pixels: np.ndarray) -> str:
    """A picture uint8 [H, W, 3 or 4] as a PNG inside an address; larger ones are made SMALL."""
    picture, file = Image.fromarray(pixels), io.BytesIO()
    if max(picture.size) > SMALL:
        picture.thumbnail((SMALL, SMALL))
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def heat(values: np.ndarray, top: float) -> str:
    """Activations of patches in reading order [n * n] as an n x n overlay, clear where none is."""
    side = int(np.sqrt(len(values)))
    colours = np.array([list(bytes.fromhex(f"{c}00")) for c in ("ffffff", *RAMP)], np.uint8)
    colours[1:, 3] = VEIL
    return uri(colours[level(values, top).reshape(side, side)])


def ramp() -> str:
    """CSS rules of the words' colours: `.q1` to `.q9`, with ink that can be read on each."""
    return "".join(
        f".q{i}{{background:#{c};color:{'#fff' if i > 5 else '#1d2329'}}}"
        for i, c in enumerate(RAMP, 1)
    )


def histogram(null: pd.Series, own: float, drift: float, title: str) -> str:
    """The null's cosines as a histogram of angles; marked, a feature's own and its own null's.

    null: cosines of the settled features. SVG, 300 wide; heights are square roots of counts.
    """
    wide, high, left = 300, 46, 10
    angles = _degrees(null.to_numpy(float))
    angle, still = _degrees(own), _degrees(drift)
    top = max(15.0, 15 * np.ceil(np.nanmax([*angles, angle, still]) / 15))
    counts, _ = np.histogram(angles, 45, (0, top))
    bar = (wide - 2 * left) / 45
    tall = high * np.sqrt(counts / max(counts.max(), 1))
    path = "".join(
        f"M{left + i * bar:.1f} {high + 6}v{-h:.1f}h{bar - 0.6:.1f}v{h:.1f}z"
        for i, h in enumerate(tall)
        if h
    )

    def at(degrees: float) -> float:
        return left + (wide - 2 * left) * degrees / top

    marks = "".join(
        f'<text x="{at(d):.1f}" y="{high + 18}" text-anchor="middle">{d:.0f}°</text>'
        for d in np.arange(0, top + 1, 5 if top <= 30 else 15 if top <= 90 else 45)
    )
    if np.isfinite(still):
        marks += (
            f'<path d="M{at(still):.1f} 10V{high + 6}" class="drift"/>'
            f'<circle cx="{at(still):.1f}" cy="8" r="3" class="drift"/>'
        )
    if np.isfinite(angle):
        x = at(angle)
        marks += (
            f'<path d="M{x:.1f} 4V{high + 6}" class="own"/>'
            f'<path d="M{x - 4:.1f} 0h8l-4 7z" class="own"/>'
        )
    return (
        f'<svg viewBox="0 0 {wide} {high + 22}" role="img" aria-label="{escape(title)}">'
        f'<path d="{path}" class="null"/><path d="M{left} {high + 6}H{wide - left}" class="axis"/>'
        f"{marks}</svg>"
    )


def _degrees(cosine: float | np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def grid(rows: Sequence[tuple[int, int, float]], title: str) -> str:
    """Signed figures of heads, (layer, head, value), as a map: layers down, heads across.

    Orange is positive, blue negative, full where the largest magnitude is.
    """
    layers, heads = (1 + max(row[i] for row in rows) for i in (0, 1))
    most = max(abs(value) for *_, value in rows) or 1.0
    cell = min(22.0, 272 / heads)
    drawn = "".join(
        f'<rect x="{24 + head * cell:.1f}" y="{layer * cell:.1f}" width="{cell - 1:.1f}" '
        f'height="{cell - 1:.1f}" fill="{"#e66101" if value > 0 else "#2166ac"}" '
        f'fill-opacity="{abs(value) / most:.3f}" stroke="#8d99ae" stroke-width=".4">'
        f"<title>layer {layer}, head {head}: {value:+.3g}</title></rect>"
        for layer, head, value in rows
    )
    every = max(1, layers // 8)
    drawn += "".join(
        f'<text x="20" y="{(layer + 0.5) * cell + 3.5:.1f}" text-anchor="end">{layer}</text>'
        for layer in range(0, layers, every)
    )
    every = max(1, heads // 8)
    drawn += "".join(
        f'<text x="{24 + (head + 0.5) * cell:.1f}" y="{layers * cell + 11:.1f}" '
        f'text-anchor="middle">{head}</text>'
        for head in range(0, heads, every)
    )
    return (
        f'<svg viewBox="0 0 300 {layers * cell + 14:.0f}" role="img" aria-label="{escape(title)}">'
        f"{drawn}</svg>"
    )
