"""The control of equal count: as many tokens as `anchor` takes, those least tied to the image."""

from typing import Any

from steps.posttrain.credit import anchor
from steps.posttrain.credit.seen import Credit, Seen, alike
from steps.posttrain.credit.select import most

NEEDS = anchor.NEEDS


def weigh(seen: Seen, told: Any) -> Credit:
    """Weights as `anchor`'s, on the share of tokens with the lowest density."""
    assert seen.density is not None
    chosen = most(-seen.density, seen.mask, told.share)
    return Credit(anchor.weights(seen, chosen, told), alike(seen), chosen)
