"""How much of an update's gradient comes from words tied to the image, and how much from others.

AT-RL (2602.11455) says that plain reinforcement learning already concentrates its credit on anchors
over training. Here the norm of the gradient that they alone would give stands beside that of all
other words, whatever rule the update follows.
"""

from collections.abc import Iterable

import torch
from torch import Tensor


def norms(
    logps: Tensor,
    advantages: Tensor,
    mask: Tensor,
    chosen: Tensor,
    loss: str,
    weights: Iterable[Tensor],
) -> tuple[float, float]:
    """Norms of the policy gradient of the chosen words and of all others, up to one factor.

    logps [B, T], with their graph, which is kept; advantages [B, T]; mask, chosen bool [B, T]. At
    a ratio of 1 the gradient is that of -sum(advantage x logp), averaged as `loss` averages it:
    within an answer first (grpo), or over all words alike.
    """
    scale = advantages * mask
    if loss == "grpo":
        scale = scale / mask.sum(1, keepdim=True).clamp_min(1)
    moved = [w for w in weights if w.requires_grad]
    found = []
    for some in (chosen, ~chosen):
        told = -(scale.detach() * logps * (some & mask)).sum()
        grads = torch.autograd.grad(told, moved, retain_graph=True, allow_unused=True)
        found.append(torch.nn.utils.get_total_norm([g for g in grads if g is not None]).item())
    return found[0], found[1]
