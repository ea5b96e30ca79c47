"""Models put together from the weights of two: whole parts swapped, or layers merged.

Both models have one architecture; `base` and `arm` are their weights by name (`weights`). Which
part a weight belongs to is told by `part`, a function of its name (`steps.posttrain.budget.part`,
which stands above this wing, so callers hand it in).

The merge is, for each layer l of the language model,

    theta_l = theta_base + lambda_l (theta_arm - theta_base)

with one lambda for all layers (flat), or with lambda_l in proportion to a exp(-b l), fitted to the
attention that the base pays to the image in layer l. FRANK (2505.16151) merges a visual and a
reasoning model with weights from a closed form that is not public; only its idea is here, that a
layer takes as much of the visual model as it looks, with a mean lambda set by hand. What stands in
no layer (embeddings, the last norm, the output layer) is merged with that mean. Both ways have the
same mean over layers, so that they differ in where they merge, not in how much.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from steps.models import load
from steps.stage import StageError

if TYPE_CHECKING:
    from torch import Tensor

LAYER = re.compile(r"\.layers\.(\d+)\.")


class Decay(NamedTuple):
    """A curve a exp(-b l) over layers l = 0, 1, ..., and R^2 of its fit to logarithms."""

    a: float
    b: float
    r2: float


def weights(folder: Path) -> "dict[str, Tensor]":
    """The weights of the VLM in a folder, by name; tied ones under each of their names."""
    return load.vlm(folder).state_dict()


def moved(
    base: "Mapping[str, Tensor]", arm: "Mapping[str, Tensor]", part: Callable[[str], str]
) -> set[str]:
    """The parts in which any weight differs. Raises StageError for two that do not fit together."""
    import torch

    shapes = [{name: tuple(w.shape) for name, w in one.items()} for one in (base, arm)]
    if shapes[0] != shapes[1]:
        odd = sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()})
        raise StageError(
            f"base and arm differ in names or shapes of {len(odd)} weights ({odd[0]} is one), so "
            "that no parts can be swapped: give an arm that was trained from this base"
        )
    return {part(name) for name, old in base.items() if not torch.equal(old, arm[name])}


def recombined(
    base: "Mapping[str, Tensor]",
    arm: "Mapping[str, Tensor]",
    chosen: Collection[str],
    part: Callable[[str], str],
) -> "dict[str, Tensor]":
    """The base's weights, but the arm's in the parts `chosen`; they are not copied."""
    return {name: arm[name] if part(name) in chosen else old for name, old in base.items()}


def merged(
    base: "Mapping[str, Tensor]",
    arm: "Mapping[str, Tensor]",
    shares: Sequence[float],
    part: Callable[[str], str],
) -> "dict[str, Tensor]":
    """The arm's weights, but a language model merged by `shares`: lambda of each of its layers.

    At 0 and 1 the merged weights are the base's and the arm's bit for bit.
    """
    import torch

    rest, made = float(np.mean(shares)), {}
    for name, new in arm.items():
        if part(name) == "language":
            layer = LAYER.search(name)
            share = shares[int(layer[1])] if layer else rest
            new = torch.lerp(base[name], new, share)
        made[name] = new
    return made


def fitted(masses: np.ndarray) -> Decay:
    """The decay of attention over layers [L], by least squares on logarithms: log a - b l.

    R^2 is of the logarithms; 0 where they do not vary, and always 1 for two layers. One layer has
    no decay. Raises ValueError for what is not above 0.
    """
    if not (np.asarray(masses) > 0).all():
        raise ValueError(f"attention {masses} by layer: it must be above 0 to have a logarithm")
    logs, layers = np.log(masses), np.arange(len(masses))
    if len(logs) == 1:
        return Decay(float(masses[0]), 0.0, 0.0)
    slope, start = np.polyfit(layers, logs, 1)
    left = np.square(logs - start - slope * layers).sum()
    whole = np.square(logs - logs.mean()).sum()
    varies = whole > 1e-12  # not by rounding alone
    return Decay(float(np.exp(start)), float(-slope), float(1 - left / whole) if varies else 0.0)


def decaying(decay: Decay, layers: int, mean: float) -> list[float]:
    """The lambda of each layer along `decay`, scaled to `mean` over layers.

    Where the curve is steep the largest is above 1, beyond the arm: cutting it off there would
    change the mean, and with it what is compared.
    """
    curve = np.exp(-decay.b * np.arange(layers))
    return (mean * curve / curve.mean()).tolist()
