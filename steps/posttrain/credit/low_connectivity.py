"""AT-RL's control: train on everything but the anchors (published: severe degradation)."""

from typing import Any

from steps.posttrain.credit import anchor, scale
from steps.posttrain.credit.seen import Credit, Seen, alike

NEEDS = anchor.NEEDS


def weigh(seen: Seen, told: Any) -> Credit:
    """Weight 1 for all tokens that `anchor` leaves out, 0 for its anchors."""
    anchors = anchor.weigh(seen, told).chosen
    assert anchors is not None
    chosen = seen.mask & ~anchors
    return Credit(scale.hard(chosen, seen.mask), alike(seen), chosen)
