"""A training's curves, as a file and as metrics. Times are left out: they belong to the record."""

import json
import math
from pathlib import Path

FILE = "curves.json"
CURVES = (
    "loss",
    "grad_norm",
    "entropy",
    "mean_token_accuracy",
    "patch_loss",
    "rewards/accuracies",
    "rewards/margins",
    "reward",
    "frac_reward_zero_std",
    "kl",
    "completions/mean_length",
    "completions/clipped_ratio",
    "reward/not_finite",
    "credit/share",
    "credit/weight",
    "credit/density",
    "credit/precision",
    "credit/recall",
)
"""What is kept of what TRL logs, where a method has it."""


def ends(points: list[dict[str, float]]) -> dict[str, float]:
    """`train/first/<name>` and `train/last/<name>` of each curve, from logged points in order."""
    return {
        f"train/{end}/{name}": point[name]
        for end, point in (("first", points[0]), ("last", points[-1]))
        for name in CURVES
        if point.get(name) is not None
    }


def write(points: list[dict[str, float]], out: Path) -> None:
    """Write `out/curves.json`, {name: [[optimiser step, value], ...]}, in the order of `CURVES`.

    points: as `loop.fit` returns them, those before a resume among them. A value that is absent
    or not finite (a mean over nothing) leaves a gap; a curve without a value is left out.
    """
    curves = {
        name: [
            [point["step"], point[name]]
            for point in points
            if point.get(name) is not None and math.isfinite(point[name])
        ]
        for name in CURVES
    }
    kept = {name: line for name, line in curves.items() if line}
    (out / FILE).write_text(json.dumps(kept) + "\n")
