"""What credit rules add to a step of GRPO.

python benchmarks/credit.py [--study smoke] [--steps 6] [--rounds 3]

Trains the bundled base in turns on the same questions with each rule (their answers part after the
first step, so lengths may differ a little). Needs a finished study. Goals: anchor_step_overhead,
one layer read, at most 5 %; anchor_flops_share_7b at most 1.2 %; VPPO's authors report some 10 %.
"""

import argparse
import os

from grpo import Study, Way, compare
from timing import tell

RULES = ("uniform", "anchor", "vppo")
SHAPES_7B = {"parameters": 7.6e9, "heads": 28, "width": 128, "tokens": 2048, "answer": 1024}
"""Qwen2.5-VL-7B's language model on one sequence, with half of it the answer."""


def share_7b() -> float:
    """FLOPs of reading one layer's attention at 7B, over those of the update's own pass.

    Queries times keys for the answer's rows and all heads, the softmax, the mean over heads and
    the pooling into cells; over forward and backward, 6 N a token, with nothing counted for
    sampling (which would make the share smaller).
    """
    from steps.models.connectivity import CELLS

    s = SHAPES_7B
    scores = s["answer"] * s["tokens"]
    read = scores * (s["heads"] * (2 * s["width"] + 5 + 1) + 2 * CELLS)
    return read / (6 * s["parameters"] * s["tokens"])


def main() -> None:
    """Measure in turns, print lines for people and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--study", default="", help="an overlay; default: params.yaml as it is")
    parser.add_argument("--steps", type=int, default=6, help="optimiser steps a run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the median counts")
    options = parser.parse_args()
    os.environ["SIGHTLINE_MIRROR"] = "off"
    ways: dict[str, Way] = {rule: (rule, True, True) for rule in RULES}
    wall, _ = compare(Study(options.study), ways, options.steps, options.rounds)
    over = {rule: wall[rule] / wall["uniform"] - 1 for rule in RULES[1:]}
    print(
        f"anchor {100 * over['anchor']:+.1f} % of a step (goal 5), vppo {100 * over['vppo']:+.1f} "
        f"%; anchor at 7B {100 * share_7b():.3f} % of the FLOPs (goal 1.2)"
    )
    tell(
        study=options.study or "default",
        wall_s=wall,
        anchor_step_overhead=over["anchor"],
        vppo_step_overhead=over["vppo"],
        anchor_flops_share_7b=share_7b(),
    )


if __name__ == "__main__":
    main()
