"""Muon in float32 beside torch's, which multiplies in bfloat16."""

import pytest
import torch

from steps.models.muon import Muon, orthogonal

TORCHS = 3.4445, -4.775, 2.0315


@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48)])
@pytest.mark.parametrize("nesterov", [True, False])
def test_it_steps_as_torchs_does(shape, nesterov):
    torch.manual_seed(0)
    start = torch.randn(shape)
    weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
    told = {"lr": 0.1, "weight_decay": 0.05, "nesterov": nesterov}
    both = [kind([w], **told) for kind, w in zip((Muon, torch.optim.Muon), weights, strict=True)]
    for _ in range(4):
        gradient = torch.randn(shape)
        for weight, optimiser in zip(weights, both, strict=True):
            weight.grad = gradient.clone()
            optimiser.step()
    ours, theirs = (w.detach() - start for w in weights)
    assert (ours - theirs).norm() < 0.02 * theirs.norm()  # bfloat16 has three digits
    kept = [o.state_dict()["state"][0]["momentum_buffer"] for o in both]
    assert torch.equal(*kept)  # a checkpoint of one is one of the other


def test_a_matrix_comes_near_to_its_orthogonal_part():
    """Directions of U V' exactly; singular values between 0.7 and 1.2, which is Muon's design."""
    torch.manual_seed(0)
    matrix = torch.randn(40, 12, dtype=torch.float64)
    found = orthogonal(matrix, TORCHS, 5, 1e-7)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ found @ v.T
    assert torch.allclose(inner, inner.diagonal().diag(), atol=1e-9)
    assert 0.65 < inner.diagonal().min() and inner.diagonal().max() < 1.25
