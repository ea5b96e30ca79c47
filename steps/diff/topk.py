"""TopK sparse dictionary: encoding, decoding and gradients that touch k rows a token.

A token x (d numbers, scaled to unit root mean square) is written with at most k of f latents:

    pre = (x - b_dec) W_enc + b_enc                       [f]
    z   = relu of the k largest pre, all else zero        (Gao et al. 2024, eq. 2)
    x^  = z W_dec + b_dec,      rows of W_dec of unit length

and is fitted on  mean ||x - x^||^2 / V + alpha * mean ||e - e^||^2 / V,  where V is the total
variance of the inputs (one constant, so that no batch rescales the learning rate), e = x - x^ and
e^ the reconstruction of e by the best *dead* latents (Gao et al. 2024, appendix A.2). Only the
selection needs all f pre-activations; decoding and every gradient gather or scatter k rows.

Weights are a dict with SAELens' names and shapes: W_enc [d, f], b_enc [f], W_dec [f, d], b_dec [d].
"""

import torch
from torch import Tensor
from torch.nn import functional

Weights = dict[str, Tensor]
GROUPS = 4  # of which the best k hold the best k latents; four was fastest from 640 to 2,048 wide


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
    groups with the largest maximum, and only those are searched. A third of the time of a plain
    topk on a CPU; ties may fall differently.
    """
    n, width = pre.shape
    if width % GROUPS or width // GROUPS <= k:
        values, index = pre.topk(min(k, width), dim=1, sorted=False)
        return values, index
    stride = width // GROUPS
    best = pre.view(n, GROUPS, stride).amax(1).topk(k, dim=1, sorted=False).indices
    offsets = torch.arange(0, width, stride, device=pre.device)
    candidates = (best[:, None, :] + offsets[:, None]).reshape(n, -1)
    values, place = pre.gather(1, candidates).topk(k, dim=1, sorted=False)
    return values, candidates.gather(1, place)


def encode(weights: Weights, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Codes of x [n, d]: values [n, k] (>= 0; 0 is 'not active') and latents [n, k]."""
    pre = torch.addmm(weights["b_enc"], x - weights["b_dec"], weights["W_enc"])
    values, index = largest(pre, k)
    return values.relu(), index


def decode(weights: Weights, values: Tensor, index: Tensor) -> Tensor:
    """Reconstruction [n, d] from codes [n, k]: k rows of the decoder a token, no dense product."""
    rows = functional.embedding_bag(index, weights["W_dec"], mode="sum", per_sample_weights=values)
    return rows + weights["b_dec"]


def dense(values: Tensor, index: Tensor, width: int) -> Tensor:
    """Codes [n, k] written out as [n, width]."""
    return values.new_zeros(len(values), width).scatter_(1, index, values)


def gradients(
    weights: Weights,
    x: Tensor,
    k: int,
    variance: float,
    dead: Tensor | None = None,
    alpha: float = 1 / 32,
) -> tuple[Weights, float, Tensor]:
    """Gradients of the loss in the module's head on a batch x [n, d].

    `variance` is V; `dead` [f] marks the latents that the auxiliary loss may use (at most d / 2 of
    them a token). Returns the gradients (names of the weights), the reconstruction loss (a share
    of V) and the latents that fired [f, bool].
    """
    centred = x - weights["b_dec"]
    pre = torch.addmm(weights["b_enc"], centred, weights["W_enc"])
    values, index = largest(pre, k)
    values = values.relu_()
    error = x - decode(weights, values, index)
    scale = 2 / (len(x) * variance)
    grads = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    # the decoder's bias takes the error of the main loss; the auxiliary loss never sees it
    grads["b_dec"] -= scale * error.sum(0)
    _accumulate(grads, weights, centred, values, index, -scale * error)
    fired = torch.zeros_like(weights["b_enc"], dtype=torch.bool)
    fired[index[values > 0]] = True
    if dead is not None and bool(dead.any()):
        names = dead.nonzero()[:, 0]
        aux, place = pre[:, names].topk(min(len(names), max(x.shape[1] // 2, 1)), sorted=False)
        aux, place = aux.relu_(), names[place]
        left = error - (decode(weights, aux, place) - weights["b_dec"])
        _accumulate(grads, weights, centred, aux, place, -alpha * scale * left)
    return grads, float(error.square().sum() / (len(x) * variance)), fired


def _accumulate(
    grads: Weights, weights: Weights, centred: Tensor, values: Tensor, index: Tensor, out: Tensor
) -> None:
    """Add to grads what `out` [n, d], the gradient at z W_dec, sends back through the codes z."""
    width = len(weights["b_enc"])
    into_values = _pull(weights["W_dec"], values, index, out) * (values > 0)  # ... of the relu
    per_latent = torch.bincount(index.reshape(-1), into_values.reshape(-1), width)
    grads["W_dec"] += _scatter(values, index, out, width)
    grads["W_enc"] += _scatter(into_values, index, centred, width).T
    grads["b_enc"] += per_latent
    grads["b_dec"] -= weights["W_enc"] @ per_latent


def _scatter(values: Tensor, index: Tensor, rows: Tensor, width: int) -> Tensor:
    """Sum over tokens of values[n, j] * rows[n], into row index[n, j] of [width, d]."""
    n, k = index.shape
    tokens = torch.arange(n, device=index.device).repeat_interleave(k)
    places = torch.stack([index.reshape(-1), tokens])
    codes = torch.sparse_coo_tensor(places, values.reshape(-1), (width, n), check_invariants=False)
    return torch.sparse.mm(codes, rows)


def _pull(table: Tensor, values: Tensor, index: Tensor, out: Tensor) -> Tensor:
    """The products <table[index[n, j]], out[n]> as [n, k]: the gradient of a bag at its weights."""
    with torch.enable_grad():
        values = values.detach().requires_grad_()
        bag = functional.embedding_bag(index, table.detach(), mode="sum", per_sample_weights=values)
        return torch.autograd.grad(bag, values, out)[0]


@torch.no_grad()
def tangent(weights: Weights, grads: Weights) -> None:
    """Take from the decoder's gradient what would only change its rows' lengths (in place)."""
    rows = weights["W_dec"]
    grads["W_dec"] -= (grads["W_dec"] * rows).sum(1, keepdim=True) * rows


@torch.no_grad()
def unit_rows(weights: Weights) -> None:
    """Bring the decoder's rows back to unit length (in place)."""
    weights["W_dec"] /= weights["W_dec"].norm(dim=1, keepdim=True)
