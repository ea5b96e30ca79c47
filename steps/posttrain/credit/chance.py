"""The control of equal count that looks at nothing: tokens picked by chance (rule `random`)."""

from typing import Any

import torch

from steps.posttrain.credit import scale
from steps.posttrain.credit.seen import Credit, Seen, alike
from steps.posttrain.credit.select import most

NEEDS = frozenset()


def weigh(seen: Seen, told: Any) -> Credit:
    """As many tokens of each answer as `anchor` picks by top-k, any of them alike.

    Weights are `two_level` where told.weight says so, else `hard`.
    """
    drawn = torch.rand(seen.mask.shape, generator=seen.generator).to(seen.mask.device)
    chosen = most(drawn, seen.mask, told.share)
    if told.weight == "two_level":
        return Credit(scale.two_level(chosen, seen.mask, told.boost), alike(seen), chosen)
    return Credit(scale.hard(chosen, seen.mask), alike(seen), chosen)
