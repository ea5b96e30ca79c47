"""Weights put together: exactly the parts that were named, and merges with known ends and means."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import linregress

from steps.models import merge
from steps.posttrain.budget import PARTS, part
from steps.stage import StageError


@pytest.fixture(scope="module")
def pair(model):
    """Weights of a base and of an arm in which every single number is another one."""
    arm = copy.deepcopy(model)
    torch.manual_seed(0)
    for weights in arm.parameters():
        weights.data += 0.1 + torch.rand_like(weights)
    return model.state_dict(), arm.state_dict()


@pytest.mark.parametrize("digits", product((0, 1), repeat=3))
def test_the_parts_named_are_the_arms_and_the_rest_the_bases(model, pair, digits):
    base, arm = pair
    chosen = [name for name, digit in zip(PARTS, digits, strict=True) if digit]
    made = copy.deepcopy(model)
    made.load_state_dict(merge.recombined(base, arm, chosen, part))
    inner = made.model
    parts = {"tower": inner.vision_tower, "projector": inner.multi_modal_projector}
    parts["language"] = inner.language_model
    seen = 0
    for name, module in parts.items():
        source = arm if name in chosen else base
        for own, weights in module.state_dict().items():
            known = [w for whole, w in source.items() if whole.endswith(f".{own}")]
            known = [w for w in known if w.shape == weights.shape]
            assert any(torch.equal(weights, w) for w in known), own
            seen += weights.numel()
    assert seen == sum(weights.numel() for weights in made.parameters())
    assert torch.equal(made.lm_head.weight, inner.language_model.embed_tokens.weight)


def test_moved_parts_are_found(pair):
    base, arm = pair
    assert merge.moved(base, base, part) == set()
    assert merge.moved(base, arm, part) == set(PARTS)
    for name in PARTS:
        assert merge.moved(base, merge.recombined(base, arm, [name], part), part) == {name}


def test_models_that_do_not_fit_together_are_refused(pair):
    base, arm = pair
    name = next(iter(arm))
    for odd in ({**arm, name: arm[name][:1]}, {k: v for k, v in arm.items() if k != name}):
        with pytest.raises(StageError, match="1 weights .*trained from this base"):
            merge.moved(base, odd, part)


def test_a_merge_ends_in_base_and_arm(pair):
    base, arm = pair
    for share, chosen in ((0.0, ["tower", "projector"]), (1.0, PARTS)):
        made = merge.merged(base, arm, [share, share], part)
        known = merge.recombined(base, arm, chosen, part)
        assert made.keys() == known.keys()
        assert all(torch.equal(made[name], known[name]) for name in made)


def test_each_layer_has_its_own_weight(pair):
    base, arm = pair
    made = merge.merged(base, arm, [0.2, 0.6], part)
    counts = dict.fromkeys((0.2, 0.6, 0.4, 1.0), 0)
    for name, weights in made.items():
        share = 1.0
        if part(name) == "language":
            share = 0.2 if ".layers.0." in name else 0.6 if ".layers.1." in name else 0.4
        counts[share] += 1
        torch.testing.assert_close(weights - base[name], share * (arm[name] - base[name]))
    assert counts[0.2] == counts[0.6] > 5  # both layers; the tower has layers too
    assert counts[0.4] == 3 and counts[1.0] > 20  # embeddings, last norm, output


def test_a_decay_is_found_again():
    layers = np.arange(5)
    found = merge.fitted(0.4 * np.exp(-0.3 * layers))
    assert found == pytest.approx((0.4, 0.3, 1.0))
    masses = np.array([0.3, 0.5, 0.2, 0.25, 0.1])
    known = linregress(layers, np.log(masses))
    fit = (np.exp(known.intercept), -known.slope, known.rvalue**2)
    assert merge.fitted(masses) == pytest.approx(fit)
    assert merge.fitted(np.full(4, 0.2)) == pytest.approx((0.2, 0.0, 0.0))
    assert merge.fitted(np.array([0.2])) == (0.2, 0.0, 0.0)
    with pytest.raises(ValueError, match="above 0"):
        merge.fitted(np.array([0.2, 0.0]))


@pytest.mark.parametrize("rate", [-0.5, 0.0, 0.3, 4.0])
@pytest.mark.parametrize("mean", [0.0, 0.5, 1.0])
def test_weights_along_the_decay_have_the_flat_mean(rate, mean):
    shares = merge.decaying(merge.Decay(0.4, rate, 1.0), 4, mean)
    assert np.mean(shares) == pytest.approx(mean)
    steps = np.array(shares[1:])
    np.testing.assert_allclose(steps, np.exp(-rate) * np.array(shares[:-1]))
