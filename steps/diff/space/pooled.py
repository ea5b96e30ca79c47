"""What features do on a question as a whole: one number a feature and scene."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from steps.diff import reading

WAYS = {
    "question": (reading.QUESTION, "max"),
    "last": (reading.QUESTION, "last"),
    "mean": (reading.QUESTION, "mean"),
    "answer": (reading.ANSWER, "max"),
}
"""How tokens become one number: of which type, and which of them.

The question's tokens stand behind the image, so that what they hold of it they have looked up.
"""


class Writer(NamedTuple):
    """What is to be made of a site's activations: codes [n, f] of x [n, d], pooled in ways."""

    site: str
    codes: Callable[[Tensor], Tensor]
    ways: Sequence[str]


def pooled(
    model: Any,
    processor: Any,
    some: reading.Asked,
    writers: dict[Any, Writer],
    batch: int,
) -> dict[Any, dict[str, np.ndarray]]:
    """For each writer its ways, float32 [N, f]; only a batch's tokens are held at once.

    `max` takes codes to be at least 0. A question without tokens of a type has zeros.
    """
    sites = sorted({writer.site for writer in writers.values()})
    found: dict[Any, dict[str, list[np.ndarray]]] = {
        name: {way: [] for way in writer.ways} for name, writer in writers.items()
    }
    for part in reading.read(model, processor, some, sites, batch):
        for name, writer in writers.items():
            x = part.seen[writer.site]
            for kind in {WAYS[way][0] for way in writer.ways}:
                real = (part.types == kind).to(x.device)
                near = real.any(0)
                codes = _coded(x[:, near], real[:, near], writer.codes)
                for way in writer.ways:
                    if WAYS[way][0] == kind:
                        value = _one(codes, real[:, near], WAYS[way][1])
                        found[name][way].append(value.cpu().numpy())
    return {
        name: {way: np.concatenate(parts) for way, parts in ways.items()}
        for name, ways in found.items()
    }


@torch.inference_mode()
def _coded(x: Tensor, real: Tensor, write: Callable[[Tensor], Tensor]) -> Tensor:
    """Codes [B, T, f] of the real tokens of x [B, T, d], zeros elsewhere."""
    codes = write(x[real].float())
    spread = codes.new_zeros(*real.shape, codes.shape[1])
    spread[real] = codes
    return spread


@torch.inference_mode()
def _one(codes: Tensor, real: Tensor, how: str) -> Tensor:
    """One of the T tokens of each question, or what they have in common: [B, T, f] to [B, f]."""
    if how == "max":
        return codes.amax(1)
    if how == "mean":
        return codes.sum(1) / real.sum(1, keepdim=True).clamp_min(1)
    place = (real * torch.arange(1, real.shape[1] + 1, device=real.device)).amax(1) - 1
    return codes[torch.arange(len(codes), device=codes.device), place.clamp_min(0)]
