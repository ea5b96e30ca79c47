"""What each attention head does for a target: by gradients for all, and exactly for some.

Patching gives one head, at all tokens, what it gives in the twin of a scene, and reads the target T
again; heads behind it may then do otherwise than before (a total effect). Attribution patching
(Nanda 2023; AtP*, Kramar et al. 2024, 2403.00745) takes the first-order term instead, for all heads
from two passes forward and one back a target:

    attribution_h = sum_t <a_h,t(twin) - a_h,t(scene), dT / da_h,t (scene)>

with a_h the head's slice of what goes into the output matrix. It is signed and summed over tokens:
absolute values taken token by token, as in the VLM paper, add up noise. Heads of the target's own
layer are included, since they write into what is read. AtP* lists what the linear term misses:
softmax that is saturated, and effects that cancel along several paths. So exact patching stands
beside it.

Effects are returned as drives: the change that patching takes away, turned by `targets.turns`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.diff import hooks, reading
from steps.diff.drivers.pairs import Pairs
from steps.diff.drivers.targets import Target, turns, values
from steps.diff.reading import Asked

PARTS = ("image", "question")
"""Tokens behind whose type a drive is split: all that can differ between a scene and its twin."""


@dataclass
class Drives:
    """What patching takes away.

    scene, twin: T [T, S]. drive: by gradients, by PARTS [T, S, 2, L, H]; NaN for heads behind the
    target, and for scenes whose relation is not its own.
    """

    scene: np.ndarray
    twin: np.ndarray
    drive: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Drives over all tokens [T, S, L, H]."""
        return self.drive.sum(2)


def heads(model: Any) -> tuple[int, int]:
    """Layers and query heads of the language model."""
    config = model.get_decoder().config
    return len(hooks.decoder_layers(model)), int(config.num_attention_heads)


def sites(aims: Sequence[Target]) -> list[str]:
    """The sites that targets are read at."""
    return sorted({aim.site for aim in aims if aim.row is not None})


def attribution(
    model: Any, processor: Any, pairs: Pairs, aims: Sequence[Target], choices: Tensor, batch: int
) -> Drives:
    """Drives of all heads. The model's weights must not require gradients."""
    layers, count = heads(model)
    places = [f"heads.{layer}" for layer in range(layers)]
    wanted, parts = [*places, *sites(aims)], []
    for start in range(0, len(pairs.table), batch):
        some = pairs.rows(slice(start, start + batch))
        (twin,) = reading.read(model, processor, some.twin, wanted, batch)
        (scene,) = reading.read(model, processor, some.clean, wanted, batch, edits=_leaf, grad=True)
        with torch.enable_grad():
            found = values(scene, aims, choices, some.true())
        kinds = [some.clean.types == code for code in (reading.IMAGE, reading.QUESTION)]
        heard = [scene.seen[place] for place in places]
        lost = [x.detach() - twin.seen[place] for x, place in zip(heard, places, strict=True)]
        drive = np.full((len(aims), len(some.table), len(PARTS), layers, count), np.nan)
        for i, aim in enumerate(aims):
            reached = heard[: aim.deepest(layers) + 1]
            slopes = torch.autograd.grad(found[i].sum(), reached, retain_graph=True)
            for layer, slope in enumerate(slopes):
                by_token = (lost[layer] * slope).unflatten(-1, (count, -1)).sum(-1)
                split = torch.einsum("bph,kbp->bkh", by_token, torch.stack(kinds).to(by_token))
                drive[i, :, :, layer] = split.cpu().numpy()
        ends = [found.detach(), values(twin, aims, choices, some.true())]
        parts.append((*[end.double().cpu().numpy() for end in ends], drive))
    at_scene, at_twin, drive = (np.concatenate(part, 1) for part in zip(*parts, strict=True))
    return Drives(at_scene, at_twin, drive * turns(aims, pairs.table)[..., None, None, None])


def _leaf(start: int, rows: Asked) -> dict[str, Callable[[Tensor], Tensor]]:
    """Nothing before the first layer's heads needs a graph, and so they are its leaves."""
    return {"heads.0": lambda x: x.requires_grad_(True)}


def exact(
    model: Any,
    processor: Any,
    pairs: Pairs,
    aims: Sequence[Target],
    choices: Tensor,
    which: Sequence[tuple[int, int]],
    batch: int,
) -> np.ndarray:
    """Drives of the heads `which` (layer, head) by patching each, [T, S, heads]; NaN as before."""
    layers, count = heads(model)
    places = [f"heads.{layer}" for layer in sorted({layer for layer, _ in which})]
    parts = []
    for start in range(0, len(pairs.table), batch):
        some = pairs.rows(slice(start, start + batch))
        (twin,) = reading.read(model, processor, some.twin, places, batch)
        (scene,) = reading.read(model, processor, some.clean, sites(aims), batch)
        before = values(scene, aims, choices, some.true())
        lost = []
        for layer, head in which:
            site = f"heads.{layer}"
            change = _given(twin.seen[site], head, count)
            how = partial(_only, site, change)
            (read,) = reading.read(model, processor, some.clean, sites(aims), batch, how)
            # What is captured at the site itself is from before the patch.
            at = {site: change(read.seen[site])} if site in read.seen else None
            lost.append(before - values(read, aims, choices, some.true(), at))
        parts.append(torch.stack(lost, -1).double().cpu().numpy())
    reach = np.array([[layer <= aim.deepest(layers) for layer, _ in which] for aim in aims])
    drive = np.concatenate(parts, 1) * turns(aims, pairs.table)[..., None]
    return np.where(reach[:, None], drive, np.nan)


def _only(site: str, change: Callable[[Tensor], Tensor], *_: Any) -> dict[str, Any]:
    return {site: change}


def _given(other: Tensor, head: int, count: int) -> Callable[[Tensor], Tensor]:
    """Puts a head's slice of `other` [B, P, H * dh] in."""
    width = other.shape[-1] // count
    own = slice(head * width, (head + 1) * width)

    def change(x: Tensor) -> Tensor:
        x = x.clone()
        x[..., own] = other[..., own]
        return x

    return change
