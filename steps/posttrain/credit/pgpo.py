"""Soft credit by how much a token's distribution changes with a spoilt image: PGPO (2604.01840).

A token's share of its answer's dependency, I, is the logarithm of its divergence brought to 0 to 1
over the answer. Below the threshold credit falls to nothing in a straight line, above it rises to
1 + boost; weights are then scaled to a mean of 1 (`equal_scale`), so that no credit is lost.
"""

from typing import Any

import torch

from steps.posttrain.credit.seen import Credit, Seen, alike

NEEDS = frozenset({"drift"})


def weigh(seen: Seen, told: Any) -> Credit:
    """Weights by told.pivots, the threshold, and told.boost; 1 where all tokens depend alike.

    PGPO has the threshold .4, the boost 2 and an image that is blacked out whole (`spoil: 1.0`).
    """
    assert seen.drift is not None
    depth = seen.drift.clamp_min(0).log1p()
    low = depth.masked_fill(~seen.mask, torch.inf).amin(1, keepdim=True)
    high = depth.masked_fill(~seen.mask, -torch.inf).amax(1, keepdim=True)
    place = (depth - low) / (high - low).clamp_min(1e-9)
    edge, boost = told.pivots, told.boost
    above = 1 + boost * (place - edge) / max(1 - edge, 1e-9)
    weights = torch.where(place < edge, place / edge, above)
    weights = torch.where(high - low > 1e-6, weights, 1.0) * seen.mask
    return Credit(weights, alike(seen))
