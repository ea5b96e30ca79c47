"""What a credit rule is given, and what it gives."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Seen:
    """What is known of a batch of sampled answers. What a rule does not ask for is None.

    Over answers' tokens [B, T], float32 unless said otherwise: mask (bool, the answers' own
    tokens); density (attention on the image, see `steps.models.connectivity`) and pattern
    [B, T, F] (where on the image it falls); entropy, in nats; drift (divergence of the next-token
    distribution from the one with a spoilt image, in nats); depends (bool, whether a word is known
    to depend on the image). advantages [B]. generator: a source of random numbers of the rule's
    own, so that no rule changes what is sampled.
    """

    mask: Tensor
    advantages: Tensor
    generator: torch.Generator
    density: Tensor | None = None
    pattern: Tensor | None = None
    entropy: Tensor | None = None
    drift: Tensor | None = None
    depends: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """Tokens in each answer [B]."""
        return self.mask.sum(1)


class Credit(NamedTuple):
    """A token's advantage is its answer's, times both: tokens [B, T] and answers [B].

    chosen [B, T], bool: the tokens that the rule singles out, where it singles out any.
    """

    tokens: Tensor
    answers: Tensor
    chosen: Tensor | None = None


def alike(seen: Seen) -> Tensor:
    """The factor 1 for every answer [B]."""
    return torch.ones(len(seen.mask), device=seen.mask.device)
