"""The fused heads against torch's own modules and optimiser, and on classes of known separation."""

import numpy as np
import pytest
import torch

from steps.encoder import fused, logistic
from steps.stage import StageError
from tests.encoder.planted import assert_found, two


def three(n=150, width=6):
    """Three noisy classes in features of unequal scale, one of them constant."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, width)) * rng.uniform(0.5, 4, width) - 3
    codes = (x @ rng.normal(size=(width, 3)) + 2 * rng.normal(size=(n, 3))).argmax(1)
    x[:, 2] = 5.0
    return x, codes


def separately(z, codes, classes, rate, epochs, batch, seed):
    """DINO's training of one rate on standardised features: nn.Linear, SGD and a cosine."""
    dice = torch.Generator().manual_seed(seed)
    head = torch.nn.Linear(z.shape[1], classes)
    with torch.no_grad():
        head.weight.copy_(0.01 * torch.randn(z.shape[1], classes, generator=dice).T)
        head.bias.zero_()
    peer = torch.optim.SGD(head.parameters(), lr=rate * batch / 256, momentum=0.9)
    curve = torch.optim.lr_scheduler.CosineAnnealingLR(peer, epochs * -(-len(z) // batch))
    for _ in range(epochs):
        for part in torch.randperm(len(z), generator=dice).split(batch):
            peer.zero_grad()
            torch.nn.functional.cross_entropy(head(z[part]), codes[part]).backward()
            peer.step()
            curve.step()
    return head(z).detach()


def test_gradient_equals_autograd():
    torch.manual_seed(0)
    z, y = torch.randn(9, 5), torch.randint(0, 3, (9,))
    w = torch.randn(5, 4 * 3, requires_grad=True)
    loss = sum(torch.nn.functional.cross_entropy(z @ part, y) for part in w.split(3, 1))
    loss.backward()
    assert torch.allclose(fused.gradient(z, y, w.detach(), 3), w.grad, atol=1e-6)


def test_every_head_equals_one_trained_alone_by_torch():
    x, codes = three()
    rates = [1e-3, 0.05, 0.5]
    heads = fused.fit(x, codes, 3, rates, epochs=8, batch=32, seed=7)
    scale = np.where(x.std(0) > 0, x.std(0), 1)
    z = torch.from_numpy((x - x.mean(0)) / scale).float()
    ends = []
    for rate, w in zip(rates, heads, strict=True):
        theirs = separately(z, torch.from_numpy(codes), 3, rate, 8, 32, 7)
        np.testing.assert_allclose(x @ w[:-1] + w[-1], theirs.numpy(), atol=1e-5)
        ends.append(np.abs(theirs.numpy()).max())
    assert ends[0] < ends[1] < ends[2]  # they did train, each at its own rate


def test_a_seed_makes_the_heads_and_half_precision_or_chunks_do_not(monkeypatch):
    x, codes = three()
    x = x.astype(np.float16)
    one = fused.fit(x.astype(float), codes, 3, [0.05], 3, 32, 1)
    assert not np.allclose(one, fused.fit(x, codes, 3, [0.05], 3, 32, 2), atol=1e-3)
    monkeypatch.setattr(logistic, "CHUNK", 11)
    again = fused.fit(x, codes, 3, [0.05], 3, 32, 1)
    np.testing.assert_allclose(again, one, atol=1e-6)
    assert (again == fused.fit(x, codes, 3, [0.05], 3, 32, 1)).all()


def test_the_rate_is_chosen_on_a_slice_and_the_head_refitted_on_all():
    x, codes = three()
    rates = [1e-5, 0.2, 0.01]
    w, rate = fused.path(x, codes, 3, rates, 6, 32, seed=3, share=0.2)
    chosen, rest = logistic.slices(len(x), 0.2, 3)
    right = {}
    for one in sorted(rates):
        v = fused.fit(x[rest], codes[rest], 3, [one], 6, 32, 3)[0]
        right[one] = ((x[chosen] @ v[:-1] + v[-1]).argmax(1) == codes[chosen]).mean()
    assert right[rate] == max(right.values()) > min(right.values())
    np.testing.assert_allclose(w, fused.fit(x, codes, 3, [rate], 6, 32, 3)[0], atol=1e-6)


def test_of_equal_rates_the_smaller_is_taken():
    x, codes = two(40.0, 200, 3, 0)  # so far apart that both are right
    assert fused.path(x, codes, 2, [0.5, 0.05])[1] == 0.05


@pytest.mark.parametrize("distance", [1.0, 2.5])
def test_finds_what_is_planted_and_nothing_else(distance):
    def told(x, labels, new):
        w, _ = fused.path(x, labels, 2, epochs=3)
        return (new @ w[:-1] + w[-1]).argmax(1)

    assert_found(told, distance, 8, 4000)


def test_errors_say_what_to_do():
    x, codes = three()
    for wrong, says in (
        ((x[:0], codes[:0], 3), "more than none"),
        ((x, codes * 0, 3), "needs two"),
        ((x, codes, 2), "from 0"),
    ):
        with pytest.raises(StageError, match=says):
            fused.fit(*wrong)
        with pytest.raises(StageError, match=says):
            fused.path(*wrong)
