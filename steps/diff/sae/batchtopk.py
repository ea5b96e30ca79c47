"""BatchTopK: the n * k largest codes of a batch of n tokens, and a threshold for single tokens.

Tokens that need more latents get more, with k a token on average (Bussmann et al. 2412.06410).
Codes are compared weighted by their decoder rows' lengths, which here are all 1. What is kept of a
token hangs on its batch, so reading uses a threshold instead: the running mean of the smallest code
that batches kept (Minder et al. 2504.02922; as SAELens learns it, whose saved form is a JumpReLU).
"""

import torch
from torch import Tensor

from steps.diff.sae.topk import Choose, Codes

MEAN = 0.99  # share that each step leaves of the threshold's running mean
EVERY = 16  # one token in so many tells where the smallest kept code must lie
SPARE = 1.3  # candidates aimed at for each code that is kept


def rule(k: int) -> Choose:
    """The rule that keeps the n * k largest positive pre-activations of a batch [n, f].

    Exact, ties kept on top. A few tokens give a bound that more than n * k exceed; only what is
    above it is searched. Where too few are, all are searched.
    """

    def choose(pre: Tensor) -> Codes:
        n, width = pre.shape
        most = min(n * k, pre.numel())
        some = pre[::EVERY]
        rank = min(int(SPARE * k * len(some)) + k, some.numel())
        bound = some.reshape(-1).kthvalue(some.numel() - rank + 1).values.clamp(min=0)
        flat = pre.reshape(-1)
        found = (flat > bound).nonzero()[:, 0]
        if len(found) < most and bound > 0:
            found = (flat > 0).nonzero()[:, 0]
        values = flat[found]
        if len(found) > most:
            kept = values >= values.kthvalue(len(found) - most + 1).values
            found, values = found[kept], values[kept]
        tokens = found // width
        counts = torch.bincount(tokens, None, n)
        return Codes(values, found - tokens * width, tokens, counts.cumsum(0) - counts)

    return choose


def follow(threshold: Tensor, codes: Codes) -> None:
    """Bring the smallest code that a batch kept into the running mean (in place; NaN: none yet)."""
    if len(codes.values):
        least = codes.values.min().double()
        threshold.copy_(threshold.lerp(least, 1 - MEAN) if threshold == threshold else least)
