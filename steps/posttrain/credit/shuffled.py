"""A control that keeps every weight of an answer and deals them out anew by chance."""

from typing import Any

import torch

from steps.posttrain.credit import anchor
from steps.posttrain.credit.seen import Credit, Seen, alike

NEEDS = anchor.NEEDS


def weigh(seen: Seen, told: Any) -> Credit:
    """`anchor`'s weights, permuted within each answer."""
    given = anchor.weigh(seen, told)
    assert given.chosen is not None
    tokens, chosen = given.tokens.clone(), given.chosen.clone()
    for i, mask in enumerate(seen.mask):
        rows = mask.nonzero()[:, 0]
        dealt = rows[torch.randperm(len(rows), generator=seen.generator).to(rows.device)]
        tokens[i, rows], chosen[i, rows] = given.tokens[i, dealt], given.chosen[i, dealt]
    return Credit(tokens, alike(seen), chosen)
