"""What caching an encoder's features costs beside the bare forward pass, on one thread.

python benchmarks/extract.py [--images 1500] [--rounds 5]

The bundled base's tower and projector on generated images, half of them kept patch by patch and
half as means, as the stage `features` keeps them. Ours: reading images, forward, averaging, float16
files, all that the stage does. Bare: the forward pass of the same batches and nothing kept. Rounds
alternate; the ratio is the median of paired CPU seconds. Goal: extract_ratio at most 1.2.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import ROOT, tell

BATCH = 16


def timed(work: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Time both, print the figures."""
    from steps.encoder import features
    from steps.encoder import tower as towers
    from steps.models import load

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    vlm = load.vlm(ROOT / "models" / "bundled" / "instruct")
    tower, projector = towers.cut(vlm, -1), vlm.model.multi_modal_projector
    images = np.random.default_rng(0).integers(0, 256, (options.images, 64, 64, 3), np.uint8)

    def encode(batch: np.ndarray) -> dict[str, Any]:
        tokens = towers.read(tower, load.pixels(batch))
        return {"vit": tokens, "proj": projector(tokens)}

    def bare() -> None:
        with torch.no_grad():
            for start in range(0, len(images), BATCH):
                encode(images[start : start + BATCH])

    ratios, seconds = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "classify_images.npy", images[: len(images) // 2])
        np.save(folder / "segment_images.npy", images[len(images) // 2 :])
        bare()
        for _ in range(options.rounds):
            ours = timed(lambda: features.cache(folder, encode, BATCH, folder))
            alone = timed(bare)
            ratios.append(ours / alone)
            seconds.append(ours)
            print(f"ours {ours:.2f} s, bare {alone:.2f} s, ratio {ratios[-1]:.3f}")
    tell(extract_ratio=statistics.median(ratios), extract_cpu_s=statistics.median(seconds))


if __name__ == "__main__":
    main()
