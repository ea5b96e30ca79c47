import numpy as np
import pytest
import torch

from steps.diff.sae import topk
from steps.diff.sae.saved import Dictionary
from steps.diff.turning import measures


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
    monkeypatch.setattr(measures, "NUMBERS", 70 * 32)
    g = torch.Generator().manual_seed(0)
    x = torch.randn(200, 12, generator=g)
    one = Dictionary(topk.start(x, 32, g), "topk", 4, None, {})
    types = np.arange(200) % 3
    groups = np.where(types > 0, np.arange(200) // 25, -1)
    seen, again = measures.activity(one, x, types, 4, groups)
    z = one.codes(x)
    torch.testing.assert_close(again, one.decode(z), rtol=0, atol=1e-5)
    z = z.double().numpy()
    for kind in range(4):
        mine = z[types == kind]
        assert seen.tokens[kind] == len(mine)
        np.testing.assert_array_equal(seen.firings[kind], (mine > 0).sum(0))
        np.testing.assert_allclose(seen.energy[kind], (mine**2).sum(0), rtol=1e-5)
    for group in range(8):
        np.testing.assert_allclose(
            seen.groups[0][group], (z[groups == group] ** 2).sum(0), rtol=1e-5
        )
        assert seen.groups[1][group] == (groups == group).sum()
    np.testing.assert_allclose(seen.rate, (z > 0).mean(0))
    np.testing.assert_allclose(seen.mean, (z**2).mean(0), rtol=1e-5)
    np.testing.assert_array_equal(seen.alive, (z > 0).sum(0) >= measures.LEAST)


def test_cosines_do_not_see_lengths():
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(9, 5, generator=g)
    np.testing.assert_allclose(measures.cosines(rows, 3 * rows), 1, atol=1e-12)
    np.testing.assert_allclose(measures.cosines(rows, -rows), -1, atol=1e-12)
