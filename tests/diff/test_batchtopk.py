import pytest
import torch

from steps.diff.planted import plant
from steps.diff.sae import batchtopk, fit, saved


def pre(n=512, width=96, seed=0, spread=1.0):
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, width, generator=g) * (1 + spread * torch.rand(n, 1, generator=g))
    return rows


@pytest.mark.parametrize("n", [512, 40, 3])
def test_it_keeps_the_largest_of_the_whole_batch(n):
    scores, k = pre(n), 5
    codes = batchtopk.rule(k)(scores)
    expected = scores.reshape(-1).topk(n * k)
    assert torch.equal(codes.values.sort(descending=True).values, expected.values)
    places = codes.tokens * scores.shape[1] + codes.latents
    assert torch.equal(places, expected.indices.sort().values)  # token by token
    starts = torch.tensor([(codes.tokens < i).sum() for i in range(n)])
    assert torch.equal(codes.starts, starts)
    if n == 512:  # not k for each token: some tokens need more
        assert codes.tokens.bincount(minlength=n).float().std() > 1


def test_rows_that_mislead_the_bound_are_made_up_for():
    """One token in sixteen tells where to look: here it is far larger than the others."""
    scores = pre()
    scores[:: batchtopk.EVERY] *= 100
    codes = batchtopk.rule(5)(scores)
    expected = scores.reshape(-1).topk(512 * 5).values
    assert torch.equal(codes.values.sort(descending=True).values, expected)


def test_only_positive_codes_are_kept_and_a_batch_may_have_too_few():
    scores = -pre().abs()
    scores[3, 7] = 2.0
    codes = batchtopk.rule(5)(scores)
    assert (codes.values, codes.tokens, codes.latents) == (2.0, 3, 7)
    threshold = torch.tensor(float("nan"), dtype=torch.float64)
    batchtopk.follow(threshold, codes)
    assert threshold == 2.0
    batchtopk.follow(threshold, batchtopk.rule(5)(-scores.abs()))  # nothing kept: nothing learnt
    assert threshold == 2.0


def test_reading_goes_by_the_learned_threshold_whatever_else_is_in_the_batch():
    _, _, x, _ = plant(0, 0.0, (0, 0), atoms=48, width=24, tokens=2000, active=3)
    g = torch.Generator().manual_seed(1)
    start = {"a": batchtopk_start(x, g)}
    plan = fit.Plan(k=4, steps=300, batch=256, learning_rate=3e-3, seed=5, kind="batchtopk")
    fitted = fit.fit({"a": x}, start, plan)["a"]
    one = saved.scaled(fitted, 4)
    codes = one.codes(x)
    assert 3 < (codes > 0).sum(1).float().mean() < 5  # k on average
    few = one.codes(x[:7])
    assert torch.equal(few > 0, codes[:7] > 0)
    torch.testing.assert_close(few, codes[:7])
    assert one.threshold is not None and codes[codes > 0].min() > one.threshold[0]
    left = (x - one.decode(codes)).square().sum() / (x - x.mean(0)).square().sum()
    assert left < 0.35


def batchtopk_start(x, generator):
    from steps.diff.sae import topk

    return topk.start(x, 64, generator)
