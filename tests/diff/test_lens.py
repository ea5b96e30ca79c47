import numpy as np
import pytest
import torch

from steps.diff.turning import lens


def test_a_constant_difference_is_all_mean():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(400, 16, generator=g)
    types = np.arange(400) % 3
    fit = np.arange(400) % 4 > 0
    shift = torch.randn(3, 16, generator=g)
    found, shares = lens.directions(
        x, x + shift[types] + 1e-3 * x, types, ["image", "question", "answer", "told"], fit
    )
    assert found["difference.mean"].shape == (4, 16)
    torch.testing.assert_close(found["difference.mean"][1:], shift, atol=0.01, rtol=0)
    assert shares["mean/answer"] > 0.999 > shares["mean/all"] > 0.1
    assert "mean/told" not in shares
    # behind the mean, three points lie in a plane
    rest = shift - shift.mean(0)
    top = found["difference.pca"][:2]
    torch.testing.assert_close(rest @ top.T @ top, rest, atol=0.05, rtol=0)


def test_components_are_judged_on_other_rows():
    g = torch.Generator().manual_seed(1)
    x = torch.zeros(600, 40)
    axis = torch.nn.functional.normalize(torch.randn(40, generator=g), dim=0)
    y = 3 * torch.randn(600, 1, generator=g) * axis + torch.randn(600, 40, generator=g)
    fit = np.arange(600) < 120
    found, shares = lens.directions(x, y, np.zeros(600, int), ["image"], fit)
    assert found["difference.pca"].shape == (lens.COMPONENTS, 40)
    assert abs(float(found["difference.pca"][0] @ axis)) > 0.9
    assert shares["pca/1"] == pytest.approx(10 / 49, abs=0.05)
    by_chance = (lens.COMPONENTS - 1) / 49
    assert shares[f"pca/{lens.COMPONENTS}"] == pytest.approx(10 / 49 + by_chance, abs=0.06)
    assert abs(shares["mean/all"]) < 0.02
