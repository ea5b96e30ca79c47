"""How fast the world draws: scenes with images and masks a second, on one core.

    python benchmarks/world.py

Lines for people, one JSON object last.
"""

import json
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from steps import params
from steps.data.paint import render
from steps.data.world import sample

SCENES, ROUNDS = 512, 7


def main() -> None:
    """Draw `ROUNDS` batches after a first one that is not counted; report the median."""
    world = params.load(params.ROOT).world
    rates = []
    for seed in range(ROUNDS + 1):
        start = time.process_time()
        render(world, sample(world, np.random.default_rng(seed), SCENES, "train"))
        rates.append(SCENES / (time.process_time() - start))
    rates = sorted(rates[1:])
    median = rates[len(rates) // 2]
    print(f"{median:.0f} scenes a second (from {rates[0]:.0f} to {rates[-1]:.0f}), one core")
    print(json.dumps({"scenes_per_s": round(median), "scenes": SCENES, "rounds": ROUNDS}))


if __name__ == "__main__":
    main()
