"""Credit by how much a token's distribution changes with a spoilt image: VPPO (2510.09285).

Token dependency S is the divergence of the next-token distribution under the image from the one
under the image with half of its patches blacked out. Token filtering keeps the share `pivots` of
an answer's tokens with the largest S; trajectory shaping scales an answer's advantage with its
mean S, from `floor` upwards, to a mean of 1 over the batch (equation 5), which is here that of one
pass: `grpo.micro_batch` answers.
"""

from typing import Any

import torch
from torch import Tensor

from steps.posttrain.credit import scale
from steps.posttrain.credit.seen import Credit, Seen
from steps.posttrain.credit.select import most

NEEDS = frozenset({"drift"})
CLAMP, LARGEST = 20.0, 10.0
"""The authors' limits: of a log-ratio, and of a token's dependency estimated from it."""


def sampled(kept: Tensor, spoilt: Tensor) -> Tensor:
    """The authors' code's dependency: the k3 estimate of the divergence from the sampled token.

    kept, spoilt [B, T]: log-probabilities of the sampled token with the image and the spoilt one.
    """
    ratio = (spoilt - kept).clamp(-CLAMP, CLAMP)
    return (ratio.exp() - ratio - 1).clamp(0, LARGEST)


def exact(kept: Tensor, spoilt: Tensor) -> Tensor:
    """The paper's dependency: KL(with the image || with the spoilt one), from logits [B, T, V]."""
    p, q = kept.log_softmax(-1), spoilt.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def shaped(drift: Tensor, mask: Tensor, floor: float) -> Tensor:
    """Factors of answers' advantages [B]: `floor` for the least dependent answer, mean 1.

    drift [B, T]: token dependency. 1 throughout where all answers depend alike.
    """
    mean = (drift * mask).sum(1) / mask.sum(1).clamp_min(1)
    low, high = mean.min(), mean.max()
    if high - low <= 1e-6:
        return torch.ones_like(mean)
    place = (mean - low) / (high - low)
    return floor + (1 - floor) / place.mean().clamp_min(1e-8) * place


def weigh(seen: Seen, told: Any) -> Credit:
    """Weight 1 for told.pivots of each answer's tokens; factors from told.floor upwards."""
    assert seen.drift is not None
    chosen = most(seen.drift, seen.mask, told.pivots)
    factors = shaped(seen.drift, seen.mask, told.floor)
    return Credit(scale.hard(chosen, seen.mask), factors, chosen)
