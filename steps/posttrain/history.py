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
    "kl_base",
    "completions/mean_length",
    "completions/clipped_ratio",
    "clip_ratio/region_mean",
    "ratio_off",
    "gradient/anchors",
    "gradient/others",
    "gradient/share",
    "refill/groups",
    "refill/flat",
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


def total(points: list[dict[str, float]], name: str, times: int = 1) -> float:
    """The sum over a training of what was logged `times` times a step as `name`.

    Each point has the mean over the steps since the one before it.
    """
    ends = [0, *(point["step"] for point in points)]
    return sum(
        point[name] * times * (end - start)
        for point, start, end in zip(points, ends, ends[1:], strict=False)
    )


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
