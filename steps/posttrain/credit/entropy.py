"""Credit to the tokens at which the model hesitates (Wang et al. 2025, 2506.01939)."""

from typing import Any

from steps.posttrain.credit import scale
from steps.posttrain.credit.seen import Credit, Seen, alike
from steps.posttrain.credit.select import most

NEEDS = frozenset({"entropy"})


def weigh(seen: Seen, told: Any) -> Credit:
    """Weight 1 for told.share of each answer's tokens, those of the largest entropy."""
    assert seen.entropy is not None
    chosen = most(seen.entropy, seen.mask, told.share)
    return Credit(scale.hard(chosen, seen.mask), alike(seen), chosen)
