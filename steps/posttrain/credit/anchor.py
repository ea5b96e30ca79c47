"""Credit to the tokens most tied to the image: AT-RL (2602.11455), as far as it is published.

A token's advantage is its answer's times a weight of its cluster, A(i, t) = W(C) A(i); W itself is
not published. `hard` trains on anchors alone, `two_level` favours them, `density` follows how
strongly a token is tied, without a choice of anchors.
"""

from typing import Any

from torch import Tensor

from steps.posttrain.credit import scale
from steps.posttrain.credit.seen import Credit, Seen, alike
from steps.posttrain.credit.select import SELECT

NEEDS = frozenset({"attention"})


def weigh(seen: Seen, told: Any) -> Credit:
    """Weights by told.weight on the anchors that told.select finds, told.share of the tokens."""
    chosen = SELECT[told.select](seen, told.share)
    return Credit(weights(seen, chosen, told), alike(seen), chosen)


def weights(seen: Seen, chosen: Tensor, told: Any) -> Tensor:
    """Weights [B, T] in the form told.weight."""
    if told.weight == "density":
        assert seen.density is not None
        return scale.soft(seen.density, seen.mask)
    if told.weight == "two_level":
        return scale.two_level(chosen, seen.mask, told.boost)
    return scale.hard(chosen, seen.mask)
