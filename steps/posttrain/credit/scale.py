"""From chosen tokens to weights, and the scale that all rules share."""

import torch
from torch import Tensor

from steps.stage import StageError

LEAST, LARGEST = 0.5, 2.0
"""Limits of a soft weight, relative to the answer's mean density."""


def hard(chosen: Tensor, mask: Tensor) -> Tensor:
    """1 for the chosen, 0 for all others [B, T]."""
    return (chosen & mask).float()


def two_level(chosen: Tensor, mask: Tensor, boost: float) -> Tensor:
    """1 + boost for the chosen and, for the others, what keeps an answer's mean at 1 [B, T].

    An answer without a choice, or of nothing else, keeps 1. Raises StageError where the others
    would be pushed the wrong way.
    """
    chosen = chosen & mask
    picked, length = chosen.sum(1, keepdim=True), mask.sum(1, keepdim=True)
    both = (picked > 0) & (picked < length)
    rest = 1 - boost * picked / (length - picked).clamp_min(1)
    if bool((both & (rest < 0)).any()):
        raise StageError(
            f"grpo.boost = {boost}: with this share the other tokens would get a weight below 0; "
            "lower grpo.boost or grpo.share"
        )
    return torch.where(both, torch.where(chosen, 1 + boost, rest), 1.0) * mask


def soft(density: Tensor, mask: Tensor) -> Tensor:
    """Density over the answer's mean, kept between 0.5 and 2 [B, T]."""
    mean = (density * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp_min(1)
    return (density / mean.clamp_min(1e-9)).clamp(LEAST, LARGEST) * mask


def equal(weights: Tensor, mask: Tensor) -> Tensor:
    """Weights scaled to a mean of 1 over each answer, so that no rule takes larger steps [B, T].

    An answer whose weights are all 0 stays without weight.
    """
    total = (weights * mask).sum(1, keepdim=True)
    return torch.where(total > 0, weights * mask.sum(1, keepdim=True) / total, 0.0) * mask
