"""Credit to the words that are known to depend on the image: what no selector can beat."""

from typing import Any

from steps.posttrain.credit import scale
from steps.posttrain.credit.seen import Credit, Seen, alike

NEEDS = frozenset({"depends"})


def weigh(seen: Seen, told: Any) -> Credit:
    """Weight 1 for image-dependent words; an answer without one keeps weight 1 throughout."""
    assert seen.depends is not None
    chosen = seen.depends & seen.mask
    chosen = chosen | (seen.mask & ~chosen.any(1, keepdim=True))
    return Credit(scale.hard(chosen, seen.mask), alike(seen), chosen)
