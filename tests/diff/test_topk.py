import pytest
import torch

from steps.diff import dictionary, topk


def weights(width=64, d=24, seed=0):
    g = torch.Generator().manual_seed(seed)
    made = topk.start(torch.randn(200, d, generator=g), width, g)
    made["b_enc"] = 0.3 * torch.randn(width, generator=g)
    made["W_enc"] += 0.1 * torch.randn(d, width, generator=g)
    return made


def inputs(n=256, d=24, seed=1):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def by_sorting(w, x, k):
    """Independent of steps.diff.topk, dense and in float64: codes [n, f] and reconstruction."""
    w = {name: tensor.double() for name, tensor in w.items()}
    pre = torch.einsum("nd,df->nf", x.double() - w["b_dec"], w["W_enc"]) + w["b_enc"]
    rank = pre.argsort(1, descending=True).argsort(1)
    z = torch.where((rank < k) & (pre > 0), pre, 0.0)
    return z, torch.einsum("nf,fd->nd", z, w["W_dec"]) + w["b_dec"]


@pytest.mark.parametrize(("width", "k"), [(64, 6), (640, 16), (63, 5), (20, 9)])
def test_forward_equals_an_independent_dense_one(width, k):
    w, x = weights(width), inputs()
    values, index = topk.encode(w, x, k)
    z, again = by_sorting(w, x, k)
    torch.testing.assert_close(topk.dense(values, index, width).double(), z, rtol=0, atol=2e-6)
    torch.testing.assert_close(topk.decode(w, values, index).double(), again, rtol=0, atol=5e-6)
    assert (values > 0).sum(1).max() <= k


def test_the_largest_are_found_whatever_group_they_are_in():
    g = torch.Generator().manual_seed(3)
    pre = torch.randn(500, 128, generator=g)
    pre[0, torch.arange(0, 128, 32)] = 9.0 + torch.arange(4)  # all of the best in one group
    pre[1] = torch.arange(128)  # the best side by side, in different groups
    values, index = topk.largest(pre, 8)
    expected = pre.topk(8, dim=1)
    assert torch.equal(index.sort(1).values, expected.indices.sort(1).values)
    assert torch.equal(values.sort(1, descending=True).values, expected.values)


@pytest.mark.parametrize("some_dead", [False, True])
def test_gradients_equal_those_of_automatic_differentiation(some_dead):
    w, x, k, variance = weights(), inputs(), 6, 5.0
    dead = torch.arange(64) % 3 == 0 if some_dead else torch.zeros(64, dtype=torch.bool)
    grads, loss, fired = topk.gradients(w, x, k, variance, dead, alpha=0.5)
    p = {name: tensor.double().requires_grad_() for name, tensor in w.items()}
    pre = (x.double() - p["b_dec"]) @ p["W_enc"] + p["b_enc"]

    def best(scores, k):
        values, index = scores.topk(k, dim=1)
        return torch.zeros_like(scores).scatter(1, index, values.relu())

    z = best(pre, k)
    error = x.double() - (z @ p["W_dec"] + p["b_dec"])
    main = error.square().sum() / (len(x) * variance)
    aux = error.detach() - best(pre.masked_fill(~dead, -1e9), 12) @ p["W_dec"]
    total = main + (0.5 * aux.square().sum() / (len(x) * variance) if some_dead else 0)
    expected = torch.autograd.grad(total, list(p.values()))
    for name, gradient in zip(p, expected, strict=True):
        assert gradient.abs().max() > 1e-3
        torch.testing.assert_close(grads[name].double(), gradient, rtol=1e-4, atol=1e-7)
    assert loss == pytest.approx(main.item(), rel=1e-5)
    assert torch.equal(fired, (z > 0).any(0))


def test_decoder_rows_stay_of_unit_length_and_steps_do_not_lengthen_them():
    w = weights()
    grads, *_ = topk.gradients(w, inputs(), 6, 5.0)
    topk.tangent(w, grads)
    along = (grads["W_dec"] * w["W_dec"]).sum(1)
    assert along.abs().max() < 1e-6 < grads["W_dec"].abs().max()
    w["W_dec"] -= 0.5 * grads["W_dec"]
    topk.unit_rows(w)
    torch.testing.assert_close(w["W_dec"].norm(dim=1), torch.ones(64))


@pytest.mark.parametrize("scale", [1.0, 0.037])
def test_saelens_loads_a_saved_dictionary_and_gives_the_same(tmp_path, scale):
    sae_lens = pytest.importorskip("sae_lens")
    w, x = weights(), inputs() / scale  # x: as the model has them, w reads them scaled
    dictionary.save(tmp_path / "sae", w, 6, scale, {"cell": "D"})
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "sae")
    assert type(theirs).__name__ == "TopKSAE" and theirs.cfg.k == 6
    ours, config = dictionary.load(tmp_path / "sae")
    assert config["metadata"]["scale"] == scale
    values, index = topk.encode(ours, x, 6)
    with torch.no_grad():
        z = theirs.encode(x)
        again = theirs.decode(z)
    bound = 2e-6 / scale
    torch.testing.assert_close(topk.dense(values, index, 64), z, rtol=0, atol=bound)
    torch.testing.assert_close(topk.decode(ours, values, index), again, rtol=0, atol=2 * bound)
    # and the folded scale is the scale: the same latents, the same reconstruction
    scaled = topk.encode(w, scale * x, 6)
    assert torch.equal(topk.dense(*scaled, 64) > 0, z > 0)
    torch.testing.assert_close(topk.decode(w, *scaled) / scale, again, rtol=0, atol=2 * bound)


def test_a_dictionary_saved_by_saelens_loads_here(tmp_path):
    sae_lens = pytest.importorskip("sae_lens")
    torch.manual_seed(0)
    config = sae_lens.TopKSAEConfig(d_in=24, d_sae=64, k=6)
    theirs = sae_lens.TopKSAE(config)
    theirs.save_model(tmp_path)
    ours, config = dictionary.load(tmp_path)
    x = inputs()
    with torch.no_grad():
        again = theirs(x)
    values, index = topk.encode(ours, x, config["k"])
    torch.testing.assert_close(topk.decode(ours, values, index), again, rtol=0, atol=5e-6)


def test_another_architecture_is_refused(tmp_path):
    dictionary.save(tmp_path / "sae", weights(), 6)
    path = tmp_path / "sae" / "cfg.json"
    path.write_text(path.read_text().replace('"topk"', '"gated"'))
    with pytest.raises(ValueError, match="gated.*topk"):
        dictionary.load(tmp_path / "sae")
