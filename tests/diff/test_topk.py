import pytest
import torch

from steps.diff.sae import batchtopk, topk


def weights(width=64, d=24, seed=0):
    g = torch.Generator().manual_seed(seed)
    made = topk.start(torch.randn(200, d, generator=g), width, g)
    made["b_enc"] = 0.3 * torch.randn(width, generator=g)
    made["W_enc"] += 0.1 * torch.randn(d, width, generator=g)
    return made


def inputs(n=256, d=24, seed=1):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def dense(codes, n, width):
    return torch.zeros(n, width).index_put_((codes.tokens, codes.latents), codes.values)


def by_sorting(w, x, k):
    """Independent of steps.diff.sae.topk, dense and in float64: codes [n, f] and reconstruction."""
    w = {name: tensor.double() for name, tensor in w.items()}
    pre = torch.einsum("nd,df->nf", x.double() - w["b_dec"], w["W_enc"]) + w["b_enc"]
    rank = pre.argsort(1, descending=True).argsort(1)
    z = torch.where((rank < k) & (pre > 0), pre, 0.0)
    return z, torch.einsum("nf,fd->nd", z, w["W_dec"]) + w["b_dec"]


@pytest.mark.parametrize(("width", "k"), [(64, 6), (640, 16), (1024, 9), (63, 5), (20, 9)])
def test_forward_equals_an_independent_dense_one(width, k):
    w, x = weights(width), inputs()
    codes = topk.rule(k)(topk.preactivations(w, x))
    z, again = by_sorting(w, x, k)
    torch.testing.assert_close(dense(codes, len(x), width).double(), z, rtol=0, atol=2e-6)
    torch.testing.assert_close(topk.decode(w, codes).double(), again, rtol=0, atol=5e-6)


def test_the_largest_are_found_whatever_group_they_are_in():
    g = torch.Generator().manual_seed(3)
    pre = torch.randn(500, 128, generator=g)
    pre[0, torch.arange(0, 128, 32)] = 9.0 + torch.arange(4)  # all of the best in one group
    pre[1] = torch.arange(128)  # the best side by side, in different groups
    for k in (2, 8):
        values, index = topk.largest(pre, k)
        expected = pre.topk(k, dim=1)
        assert torch.equal(index.sort(1).values, expected.indices.sort(1).values)
        assert torch.equal(values.sort(1, descending=True).values, expected.values)


def best(scores, k):
    values, index = scores.topk(k, dim=1)
    return torch.zeros_like(scores).scatter(1, index, values.relu())


def best_of_batch(scores, k):
    values, index = scores.relu().reshape(-1).topk(k * len(scores))
    return torch.zeros(scores.numel(), dtype=scores.dtype).scatter(0, index, values).view_as(scores)


@pytest.mark.parametrize("rule", [(topk.rule, best), (batchtopk.rule, best_of_batch)])
@pytest.mark.parametrize("dead_every", [0, 3, 8])  # none, more than d / 2 of them, fewer
def test_gradients_equal_those_of_automatic_differentiation(rule, dead_every):
    w, x, k = weights(), inputs(), 6
    dead = torch.zeros(64, dtype=torch.bool)
    dead[:: dead_every or 100] = bool(dead_every)
    grads, loss, codes = topk.gradients(w, x, rule[0](k), dead, alpha=0.5)
    p = {name: tensor.double().requires_grad_() for name, tensor in w.items()}
    pre = (x.double() - p["b_dec"]) @ p["W_enc"] + p["b_enc"]
    z = rule[1](pre, k)
    error = x.double() - (z @ p["W_dec"] + p["b_dec"])
    aux = error.detach() - best(pre[:, dead], min(12, int(dead.sum()))) @ p["W_dec"][dead]
    main = error.square().mean()
    total = main + (0.5 * aux.square().mean() if dead_every else 0)
    expected = torch.autograd.grad(total, list(p.values()))
    for name, gradient in zip(p, expected, strict=True):
        assert gradient.abs().max() > 1e-3
        torch.testing.assert_close(grads[name].double(), gradient, rtol=1e-4, atol=1e-7)
    assert float(loss) == pytest.approx(main.item(), rel=1e-5)
    torch.testing.assert_close(dense(codes, len(x), 64).double(), z.detach(), rtol=0, atol=2e-6)


def test_wide_dictionaries_sort_their_codes_alike(monkeypatch):
    """Beyond 2^15 latents another sort is used: it must give the same order."""
    w, x = weights(), inputs()
    here, *_ = topk.gradients(w, x, topk.rule(6))
    monkeypatch.setattr(topk, "RADIX", 0)
    there, *_ = topk.gradients(w, x, topk.rule(6))
    assert all(torch.equal(here[name], there[name]) for name in here)


def test_decoder_rows_stay_of_unit_length_and_steps_do_not_lengthen_them():
    w = weights()
    grads, *_ = topk.gradients(w, inputs(), topk.rule(6))
    topk.tangent(w, grads)
    along = (grads["W_dec"] * w["W_dec"]).sum(1)
    assert along.abs().max() < 1e-6 < grads["W_dec"].abs().max()
    w["W_dec"] -= 0.5 * grads["W_dec"]
    topk.unit_rows(w)
    torch.testing.assert_close(w["W_dec"].norm(dim=1), torch.ones(64))
