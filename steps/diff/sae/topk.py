"""TopK sparse dictionary: encoding, decoding and gradients that touch k rows a token.

A token x (d numbers, scaled to unit root mean square) is written with at most k of f latents:

    pre = (x - b_dec) W_enc + b_enc                       [f]
    z   = relu of the k largest pre, all else zero        (Gao et al. 2024, 2406.04093, eq. 2)
    x^  = z W_dec + b_dec,      rows of W_dec of unit length

and is fitted on  mean ||x - x^||^2 / d + alpha * mean ||e - e^||^2 / d,  where e = x - x^ and e^ is
the reconstruction of e by the best *dead* latents (ibid., appendix A.2). No batch's own variance
divides it, which would rescale the learning rate. Only the selection needs all f pre-activations;
decoding and every gradient gather or scatter the rows of chosen latents. Which latents are chosen
is given as a function, so that other rules share all the rest.

Weights are a dict with SAELens' names and shapes: W_enc [d, f], b_enc [f], W_dec [f, d], b_dec [d].
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

Weights = dict[str, Tensor]
GROUPS = 4  # of which the best k hold the best k latents; four was fastest from 640 to 2,048 wide
RADIX = 1 << 15  # latents that a 16-bit number can name: numpy sorts these by their digits


class Codes(NamedTuple):
    """Chosen latents of n tokens, flat and token by token: values [m], latents [m], tokens [m].

    Token t's entries are those from starts[t] on [n].
    """

    values: Tensor
    latents: Tensor
    tokens: Tensor
    starts: Tensor


Choose = Callable[[Tensor], Codes]
"""Pre-activations [n, f] -> the codes that a rule keeps of them (>= 0)."""


def start(x: Tensor, width: int, generator: torch.Generator) -> Weights:
    """New weights for inputs x [n, d]: random unit decoder rows, encoder their transpose.

    b_dec starts at the mean of x, so that latents need not spend themselves on it.
    """
    decoder = torch.randn(width, x.shape[1], generator=generator)
    decoder /= decoder.norm(dim=1, keepdim=True)
    return {
        "W_enc": decoder.T.contiguous(),
        "b_enc": torch.zeros(width),
        "W_dec": decoder,
        "b_dec": x.mean(0),
    }


def largest(pre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of pre [n, f]: values and indices [n, k], in no order.

    Exact: latents are dealt into f / 4 groups of four, each of the k largest lies in one of the k
    groups with the largest maximum (found in the same way), and only those are searched. A third
    of the time of a plain topk on a CPU; ties may fall differently.
    """
    n, width = pre.shape
    if width % GROUPS or width // GROUPS <= k:
        values, index = pre.topk(min(k, width), dim=1, sorted=False)
        return values, index
    stride = width // GROUPS
    _, best = largest(pre.view(n, GROUPS, stride).amax(1), k)
    offsets = torch.arange(0, width, stride, device=pre.device)
    candidates = (best[:, None, :] + offsets[:, None]).reshape(n, -1)
    values, place = pre.gather(1, candidates).topk(k, dim=1, sorted=False)
    return values, candidates.gather(1, place)


def rule(k: int) -> Choose:
    """The rule that keeps the k largest pre-activations of each token."""
    return lambda pre: _flat(*largest(pre, k))


def preactivations(weights: Weights, x: Tensor) -> Tensor:
    """Pre-activations [n, f] of inputs x [n, d]."""
    return torch.addmm(weights["b_enc"], x - weights["b_dec"], weights["W_enc"])


def decode(weights: Weights, codes: Codes) -> Tensor:
    """Reconstruction [n, d] from codes: a row of the decoder for each, no dense product."""
    return _summed(codes.values, codes.latents, codes.starts, weights["W_dec"]) + weights["b_dec"]


def gradients(
    weights: Weights,
    x: Tensor,
    choose: Choose,
    dead: Tensor | None = None,
    alpha: float = 1 / 32,
) -> tuple[Weights, Tensor, Codes]:
    """Gradients of the loss in the module's head on a batch x [n, d].

    `dead` [f] marks the latents that the auxiliary loss may use (at most d / 2 of them a token).
    Returns the gradients (names of the weights), the reconstruction loss (mean square error of
    one number) and the codes.
    """
    centred = x - weights["b_dec"]
    pre = torch.addmm(weights["b_enc"], centred, weights["W_enc"])
    codes, scale = choose(pre), 2 / x.numel()
    grads, error = _backward(weights, centred, codes, centred, scale)
    # the decoder's bias takes the error of the main loss; the auxiliary loss never sees it
    grads["b_dec"] -= scale * error.sum(0)
    if dead is not None and bool(dead.any()):
        _auxiliary(grads, weights, centred, pre, dead.nonzero()[:, 0], error, alpha * scale)
    return grads, error.square().mean(), codes


def _auxiliary(
    grads: Weights,
    weights: Weights,
    centred: Tensor,
    pre: Tensor,
    names: Tensor,
    target: Tensor,
    scale: float,
) -> None:
    """Add to grads what sends scale / 2 * ||target - e^||^2 back through the dead latents `names`.

    Dense, since each token uses a good part of these few.
    """
    most, z = max(centred.shape[1] // 2, 1), pre.index_select(1, names).relu_()
    if len(names) > most:
        z *= z >= z.kthvalue(len(names) - most + 1, dim=1, keepdim=True).values
    rows = weights["W_dec"][names]
    out = (z @ rows - target) * scale
    into = (out @ rows.T) * (z > 0)
    grads["W_dec"].index_add_(0, names, z.T @ out)
    grads["W_enc"].index_add_(1, names, centred.T @ into)
    grads["b_enc"].index_add_(0, names, into.sum(0))
    grads["b_dec"] -= weights["W_enc"][:, names] @ into.sum(0)


def _flat(values: Tensor, index: Tensor) -> Codes:
    """Codes of values [n, k] (where above 0) and indices [n, k]."""
    n, k = index.shape
    tokens = torch.arange(n, device=index.device).repeat_interleave(k)
    starts = torch.arange(0, n * k, k, device=index.device)
    return Codes(values.relu().reshape(-1), index.reshape(-1), tokens, starts)


def _backward(
    weights: Weights, centred: Tensor, codes: Codes, target: Tensor, scale: float
) -> tuple[Weights, Tensor]:
    """Error [n, d] of z W_dec at `target`, and what scale / 2 * error^2 sends back through z."""
    width = len(weights["b_enc"])
    with torch.enable_grad():  # a bag's gradient at its weights: <row of W_dec, out>, code by code
        values = codes.values.detach().requires_grad_()
        bag = _summed(values, codes.latents, codes.starts, weights["W_dec"].detach())
        error = target - bag.detach()
        out = error * -scale
        into = torch.autograd.grad(bag, values, out)[0] * (codes.values > 0)  # ... of the relu
    order, counts = _by_latent(codes.latents, width), torch.bincount(codes.latents, None, width)
    starts, tokens, into = counts.cumsum(0) - counts, codes.tokens[order], into[order]
    each = torch.segment_reduce(into, "sum", lengths=counts, unsafe=True)
    grads = {
        "W_enc": _summed(into, tokens, starts, centred).T.contiguous(),
        "b_enc": each,
        "W_dec": _summed(codes.values[order], tokens, starts, out),
        "b_dec": -(weights["W_enc"] @ each),
    }
    return grads, error


def _summed(values: Tensor, index: Tensor, starts: Tensor, rows: Tensor) -> Tensor:
    """Sums of values[i] * rows[index[i]] over the stretches that begin at starts."""
    return embedding_bag(index, rows, starts, mode="sum", per_sample_weights=values)


def _by_latent(latents: Tensor, width: int) -> Tensor:
    """The order that sorts codes by latent, and leaves those of one latent as they stand."""
    if latents.device.type == "cpu" and width <= RADIX:
        return torch.from_numpy(latents.to(torch.int16).numpy().argsort(kind="stable"))
    return latents.argsort(stable=True)


@torch.no_grad()
def tangent(weights: Weights, grads: Weights) -> None:
    """Take from the decoder's gradient what would only change its rows' lengths (in place)."""
    rows = weights["W_dec"]
    grads["W_dec"] -= (grads["W_dec"] * rows).sum(1, keepdim=True) * rows


@torch.no_grad()
def unit_rows(weights: Weights) -> None:
    """Bring the decoder's rows back to unit length (in place)."""
    weights["W_dec"] /= weights["W_dec"].norm(dim=1, keepdim=True)
