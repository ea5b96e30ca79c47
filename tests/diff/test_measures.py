import numpy as np
import pytest
import torch

from steps.diff import measures, topk


def test_fvu_does_not_see_padding():
    g = torch.Generator().manual_seed(0)
    x = 3 + torch.randn(4, 30, 16, generator=g)  # a mean far from 0 is what padding would distort
    again = x + 0.3 * torch.randn(4, 30, 16, generator=g)
    expected = ((x - again) ** 2).sum() / ((x - x.mean((0, 1))) ** 2).sum()
    plain = measures.fvu(x, again)
    assert plain == pytest.approx(float(expected), rel=1e-5)
    valid = torch.zeros(4, 80, dtype=torch.bool)
    valid[:, 20:50] = True
    for filling in (0.0, 1e4, float("nan")):
        padded, padded_again = torch.full((4, 80, 16), filling), torch.full((4, 80, 16), -filling)
        padded[:, 20:50], padded_again[:, 20:50] = x, again
        assert measures.fvu(padded, padded_again, valid) == plain
    padded[~valid], padded_again[~valid] = 0.0, 0.0
    assert measures.fvu(padded, padded_again) < 0.2 * plain  # the mistake that it guards against


def test_fvu_of_the_mean_is_one_and_of_a_constant_undefined():
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert measures.fvu(x, x.mean(0).expand(50, 4)) == pytest.approx(1, abs=1e-6)
    assert measures.fvu(x, x) == 0
    with pytest.raises(ValueError, match="50 valid tokens do not vary"):
        measures.fvu(torch.ones(50, 4), x)


def test_activity_counts_what_a_loop_counts(monkeypatch):
    monkeypatch.setattr(measures, "CHUNK", 70)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(200, 12, generator=g)
    w = topk.start(x, 32, g)
    types = np.arange(200) % 3
    seen, again = measures.activity(w, 4, x, types, 3)
    values, index = topk.encode(w, x, 4)
    z = topk.dense(values, index, 32).double().numpy()
    torch.testing.assert_close(again, topk.decode(w, values, index), rtol=0, atol=1e-5)
    for kind in range(3):
        mine = z[types == kind]
        assert seen.tokens[kind] == len(mine)
        np.testing.assert_array_equal(seen.firings[kind], (mine > 0).sum(0))
        np.testing.assert_allclose(seen.energy[kind], (mine**2).sum(0), rtol=1e-5)
    np.testing.assert_allclose(seen.rate, (z > 0).mean(0))
    image, text = (z[types == 0] ** 2).mean(0), (z[types > 0] ** 2).mean(0)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(seen.visual, image / (image + text), rtol=1e-5)


def test_quantiles_under_the_null():
    null = np.linspace(0.8, 1, 99)
    found = measures.quantiles(np.array([0.5, 0.9, 1.0]), null)
    np.testing.assert_allclose(found, [0.01, 0.51, 1.0])


def test_matched_quantiles_compare_with_what_fires_alike():
    rng = np.random.default_rng(0)
    rate = np.r_[rng.uniform(0.001, 0.002, 200), rng.uniform(0.1, 0.2, 200)]
    null = np.where(rate < 0.01, rng.uniform(0.6, 1, 400), rng.uniform(0.98, 1, 400))
    turned = null.copy()
    turned[[0, 399]] = 0.9  # nothing special for a rare latent, far out for a frequent one
    found = measures.matched_quantiles(turned, null, rate, 100)
    assert found[399] <= 0.01 and found[0] > 0.5
    assert measures.quantiles(turned, null)[399] > 0.05  # pooled, the rare ones hide it
    rest = np.delete(found, [0, 399])
    assert abs(np.mean(rest <= 0.1) - 0.1) < 0.05  # and it is a p-value elsewhere
