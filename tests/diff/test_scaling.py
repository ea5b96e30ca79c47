import numpy as np
import pytest
import torch

from steps.diff.sae.saved import Dictionary
from steps.diff.turning import scaling


def exact(rows, bias=None):
    """A dictionary that reads the codes of independent rows [f, d] exactly."""
    encoder = torch.linalg.pinv(rows.double()).float()
    bias = torch.zeros(rows.shape[1]) if bias is None else bias
    names = {"W_enc": encoder, "b_enc": torch.zeros(len(rows)), "W_dec": rows, "b_dec": bias}
    return Dictionary(names, "topk", 8, None, {})


@pytest.fixture
def case():
    """12 features: 0 is absent before, 1 at half strength, 2 written by another latent."""
    g = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(12, 32, generator=g))
    codes = (1 + torch.rand(9000, 12, generator=g)) * (torch.rand(9000, 12, generator=g) < 0.2)
    bias = 2 * torch.randn(32, generator=g)
    after = codes @ rows + bias
    weaker = codes.clone()
    weaker[:, 0] = 0
    weaker[:, 1] *= 0.5
    before = weaker @ rows + bias
    base = rows.clone()
    base[[2, 3]] = base[[3, 2]]  # latents 2 and 3 changed places in the base's dictionary
    return exact(rows, bias), exact(base, bias), after, before


def test_absent_weaker_and_equal_features(case):
    found = scaling.ratios(*case)
    for name, atol in (("nu_error", 0.03), ("nu_reconstruction", 0.15)):
        others = np.delete(found[name], [0, 1, 2, 3])
        np.testing.assert_allclose(others, 1, atol=0.1)
        assert abs(found[name][0]) < atol
        assert found[name][1] == pytest.approx(0.5, abs=atol)
    assert list(np.flatnonzero(scaling.specific(found))) == [0]


def test_what_another_latent_writes_is_in_the_reconstruction_only(case):
    found = scaling.ratios(*case)
    assert (np.abs(found["nu_error"][[2, 3]]) < 0.3).all()
    np.testing.assert_allclose(found["nu_reconstruction"][[2, 3]], 1, atol=0.06)


def test_what_the_dictionary_left_out_is_in_the_error(case):
    """A latent that the base's dictionary lost is not new to the base: nu_error stays high."""
    tuned, base, after, before = case
    base.weights["W_enc"][:, 5] = 0  # never fires
    found = scaling.ratios(tuned, base, after, before)
    assert found["nu_error"][5] == pytest.approx(1, abs=0.05)
    assert found["nu_reconstruction"][5] < 0.3


def test_it_is_the_least_squares_fit(case, monkeypatch):
    monkeypatch.setattr("steps.diff.turning.measures.NUMBERS", 1000)
    tuned, base, after, before = case
    found = scaling.ratios(*case)
    f, z = tuned.codes(after), base.codes(before)
    for j in (1, 7):
        betas = []
        for dictionary, x, codes in ((base, before, z), (tuned, after, f)):
            y = x - dictionary.decode(codes) + codes[:, j : j + 1] * dictionary.weights["W_dec"][j]
            written = f[:, j : j + 1] * tuned.weights["W_dec"][j]
            betas.append(float((written * y).sum() / written.square().sum()))
        assert found["nu_error"][j] == pytest.approx(betas[0] / betas[1], rel=1e-4)
