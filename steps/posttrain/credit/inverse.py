"""A control that keeps every weight and turns the order round: the least tied get the most."""

from typing import Any

import torch

from steps.posttrain.credit import anchor
from steps.posttrain.credit.seen import Credit, Seen, alike

NEEDS = anchor.NEEDS


def weigh(seen: Seen, told: Any) -> Credit:
    """`anchor`'s weights of each answer, the largest given to the token of lowest density."""
    given = anchor.weigh(seen, told)
    assert seen.density is not None and given.chosen is not None
    tokens, chosen = torch.zeros_like(given.tokens), torch.zeros_like(given.chosen)
    for i, mask in enumerate(seen.mask):
        rising = seen.density[i][mask].argsort(stable=True)
        falling = given.tokens[i][mask].argsort(descending=True, stable=True)
        rows = mask.nonzero()[:, 0]
        tokens[i, rows[rising]] = given.tokens[i, rows[falling]]
        chosen[i, rows[rising]] = given.chosen[i, rows[falling]]
    return Credit(tokens, alike(seen), chosen)
