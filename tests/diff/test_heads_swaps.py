"""Heads exchanged between models and silenced, with one and with several query heads a key head."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps.data.language import vocabulary
from steps.data.speech import RELATIONS
from steps.diff import reading, relations
from steps.diff.drivers import patching, swaps
from steps.diff.drivers.pairs import pairs
from steps.diff.drivers.targets import Target
from steps.diff.hooks import decoder_layers
from steps.models import build
from steps.stage import StageError

SIZES = SimpleNamespace(
    tower_width=16, tower_layers=1, tower_heads=2, width=32, layers=2, heads=4, feed_forward=48
)
BATCH = 8
PLANTED = (1, 2)


@pytest.fixture(scope="module")
def some(world, vlm):
    return pairs(vlm[1], 64, relations.draw(world, 5, 16), upright=False)


@pytest.fixture(scope="module")
def choices(vlm):
    return reading.words(vlm[1], RELATIONS)


def two(groups):
    """Models that differ in the weights of their attention, and in nothing else."""
    config = build.config(SIZES, 64, 8, vocabulary())
    config.text_config.num_key_value_heads = groups
    models = [build.vlm(config, 0).eval().requires_grad_(False) for _ in range(2)]
    for seed, model in enumerate(models):
        torch.manual_seed(seed)
        for layer in decoder_layers(model):
            for module in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
                module.weight.normal_()
                module.bias.normal_()
            layer.self_attn.o_proj.weight.normal_()
    return models


def logits(model, processor, some):
    return torch.cat([r.logits for r in reading.read(model, processor, some.clean, batch=BATCH)])


@pytest.mark.parametrize("groups", [4, 2, 1])
def test_all_heads_exchanged_make_the_other_model_and_leave_nothing_behind(vlm, some, groups):
    model, other = two(groups)
    mine, theirs = (logits(m, vlm[1], some) for m in (model, other))
    assert not torch.allclose(mine, theirs)
    units = [(layer, unit) for layer in range(2) for unit in range(groups)]
    with swaps.swapped(model, other, units):
        assert torch.equal(logits(model, vlm[1], some), theirs)
    with pytest.raises(KeyError), swaps.swapped(model, other, units[:1]):
        assert not torch.allclose(logits(model, vlm[1], some), mine)
        raise KeyError
    assert torch.equal(logits(model, vlm[1], some), mine)


def test_a_group_takes_its_own_heads_along_and_no_others(vlm, some):
    """What the heads of the group give is the other model's, where what they read is the same."""
    model, other = two(2)
    seen = []
    for one, groups in ((model, ()), (other, ()), (model, [(0, 1)])):
        with swaps.swapped(model, other, groups):
            (read,) = reading.read(one, vlm[1], some.clean, ["heads.0"], 99)
        seen.append(read.seen["heads.0"].unflatten(-1, (4, 8)))
    assert swaps.group(model) == 2
    assert torch.equal(seen[2][:, :, :2], seen[0][:, :, :2])
    assert torch.allclose(seen[2][:, :, 2:], seen[1][:, :, 2:], atol=1e-5)
    assert not torch.allclose(seen[0], seen[1])


def test_attention_in_one_matrix_is_refused():
    model, other = two(4)
    del decoder_layers(model)[0].self_attn.q_proj
    with pytest.raises(StageError, match="not made of q_proj"):
        swaps.swapped(model, other, [(0, 0)]).__enter__()


def planted(model, some, processor):
    """A feature that one head drives: along its mean change from twin to scene."""
    layer, head = PLANTED
    own = slice(8 * head, 8 * head + 8)
    heard = []
    for asked in (some.clean, some.twin):
        (read,) = reading.read(model, processor, asked, [f"heads.{layer}"], 99)
        heard.append(read.seen[f"heads.{layer}"][:, -1, own])
    way = torch.tensor(np.where(some.table["relation"] == "left", 1.0, -1.0)).float()
    out = decoder_layers(model)[layer].self_attn.o_proj.weight[:, own]
    row = torch.linalg.pinv(out).T @ (way[:, None] * (heard[0] - heard[1])).mean(0)
    return Target("chosen", "residual.1", 0, "left", row, row)


def test_a_planted_head_takes_selectivity_with_it(vlm, some, choices):
    """Before tuning the head wrote nothing: the exchange, or silencing it, ends what it drove."""
    (model, other), processor = two(4), vlm[1]
    for layer, block in enumerate(decoder_layers(model)):
        for head in range(4):
            if (layer, head) != PLANTED:
                block.self_attn.o_proj.weight[:, 8 * head : 8 * head + 8].mul_(1e-3)
        block.mlp.down_proj.weight.zero_()
    other.load_state_dict(model.state_dict())
    for block in decoder_layers(other):
        block.self_attn.o_proj.weight.zero_()
    aims, one = [planted(model, some, processor)], np.ones(1)
    drives = patching.attribution(model, processor, some, aims, choices, BATCH).total
    mean = np.nanmean(drives[0], 0)
    assert np.unravel_index(mean.argmax(), mean.shape) == PLANTED
    how = (model, processor, some, aims, one, choices, BATCH)
    before = swaps.outcome(*how)["selectivity"]
    assert before.mean() > 0
    average = swaps.usual(model, processor, some, BATCH)
    for kept in (PLANTED, (1, 0)):
        exchanged = swaps.outcome(*how, other=other, groups=[kept])["selectivity"]
        silent = swaps.outcome(*how, edits=swaps.silenced(average, [kept], 4))["selectivity"]
        for after in (exchanged, silent):
            left = np.abs(after).mean() / np.abs(before).mean()
            assert left < 0.05 if kept == PLANTED else left > 0.9


def test_margins_and_accuracy_are_those_of_scene_and_twin(vlm, some, choices):
    (model, _), processor = two(4), vlm[1]
    row = torch.ones(32)
    aims = [Target("chosen", "residual.0", 0, "left", row, row)]
    found = swaps.outcome(model, processor, some, aims, np.ones(1), choices, BATCH)
    margins, right = [], []
    for asked, true in ((some.clean, some.true()), (some.twin, some.swapped())):
        said = torch.cat([r.logits for r in reading.read(model, processor, asked)])
        margins.append(reading.margins(said, choices, true))
        right.append(said[:, choices].argmax(1).numpy() == true)
    np.testing.assert_allclose(found["margin"], np.mean(margins, 0), atol=1e-5)
    assert np.array_equal(found["accuracy"], np.mean(right, 0))


def test_silenced_heads_give_their_average_for_each_type(vlm, some):
    (model, _), processor = two(4), vlm[1]
    average = swaps.usual(model, processor, some, BATCH)
    (one,), (two_,) = (
        list(reading.read(model, processor, asked, ["heads.1"], 99))
        for asked in (some.clean, some.twin)
    )
    whole = torch.cat([one.seen["heads.1"], two_.seen["heads.1"]])
    types = torch.cat([some.clean.types, some.twin.types])
    image = whole[types == reading.IMAGE].mean(0)
    assert torch.allclose(average["heads.1"][reading.IMAGE], image, atol=1e-5)
    change = swaps.silenced(average, [(1, 3)], 4)(0, some.clean)["heads.1"]
    new, old = change(one.seen["heads.1"]), one.seen["heads.1"]
    assert torch.equal(new[..., :24], old[..., :24])
    at = some.clean.types == reading.IMAGE
    assert torch.allclose(new[at][:, 24:], image[24:].expand(int(at.sum()), -1), atol=1e-5)


def test_rivals_come_from_the_same_layers():
    rng = np.random.default_rng(0)
    for _ in range(10):
        drawn = swaps.rivals([(0, 1), (1, 0), (1, 2)], np.array([4, 5, 4]), rng)
        assert sorted(layer for layer, _ in drawn) == [0, 1, 1]
        assert not set(drawn) & {(0, 1), (1, 0), (1, 2)}
    every = swaps.rounds([(0, 1)], np.array([4, 4]), 9, rng)
    assert sorted(every) == [[(0, 0)], [(0, 2)], [(0, 3)]]
    lone = swaps.rivals([(0, 0)], np.array([1, 1]), rng)
    assert lone == [(1, 0)]
    with pytest.raises(StageError, match="heads.few"):
        swaps.rivals([(0, 0), (1, 0)], np.array([1, 2]), rng)
