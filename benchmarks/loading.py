"""How fast a user's images are read: JPEGs from disk to rows of the stored array, on one core.

    python benchmarks/loading.py [--images 1000] [--rounds 5]

Photograph-like JPEGs (smooth shapes with grain, quality 90) are written once, of 224 x 224 pixels
and of 500 x 375; each is opened, made a square of 224 pixels and written, as the stage `items`
does. Rates are images a second of processor time, medians over rounds. Goals: 1,000 from 224
pixels, 300 from 500 x 375. Beside them, Pillow alone: the same files decoded and resized and
nothing else. And what it takes of memory that does not go back: `peak_mb_more` is how much the
process grew over a thousand images. Lines for people, one JSON object last.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from PIL import Image
from timing import tell

from steps.data.own.images import Array, Shown, opened

SIDE = 224
SIZES = {"224": (224, 224), "500x375": (500, 375)}


def picture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Something as hard to decode as a photograph: blotches of every size, and grain."""
    whole = np.zeros((height, width, 3), np.float32)
    for cells in (4, 16, 64):
        small = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        large = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        whole += np.asarray(large, np.float32) / 3
    grain = rng.normal(0, 6, whole.shape)
    return Image.fromarray((whole + grain).clip(0, 255).astype(np.uint8))


def write(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """`count` JPEGs in a folder."""
    folder.mkdir()
    rng, paths = np.random.default_rng(0), []
    for i in range(count):
        paths.append(folder / f"{i:05d}.jpg")
        picture(rng, *size).save(paths[-1], quality=90)
    return paths


def stored(paths: list[Path], out: Path, fit: Any = "squash") -> int:
    """What the stage does with images; returns how many were stored."""
    array = Array(out, (SIDE, SIDE, 3))
    for _, shown in opened([(path, None) for path in paths], SIDE, fit, 1):
        if isinstance(shown, Shown):
            array.add(shown.pixels)
    array.close()
    return array.rows


def bare(paths: list[Path]) -> int:
    """Pillow alone."""
    for path in paths:
        with Image.open(path) as image:
            image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return len(paths)


def rate(work: Callable[[], int], rounds: int) -> float:
    """Images a second of processor time: the median over rounds, after one that is not counted."""
    rates = []
    for _ in range(rounds + 1):
        start = time.process_time()
        rates.append(work() / (time.process_time() - start))
    return statistics.median(rates[1:])


def main() -> None:
    """Time both sizes, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    figures: dict[str, Any] = {"images_per_s": {}, "pillow_per_s": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, size in SIZES.items():
            paths = write(folder / label, options.images, size)
            kilobytes = sum(path.stat().st_size for path in paths) / len(paths) / 1000
            stored(paths[:100], folder / "first.npy")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            ours = rate(lambda paths=paths: stored(paths, folder / "images.npy"), options.rounds)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            alone = rate(lambda paths=paths: bare(paths), options.rounds)
            figures["images_per_s"][label] = ours
            figures["pillow_per_s"][label] = alone
            figures["peak_mb_more"] = max(grown, figures.get("peak_mb_more", 0.0))
            print(
                f"{label} ({kilobytes:.0f} kB each): {ours:.0f} images a second and core, Pillow "
                f"alone {alone:.0f}; memory grew by {grown:.1f} MB"
            )
    tell(**figures)


if __name__ == "__main__":
    main()
