"""Attribution and exact patching, held against models whose heads act in a way that is known."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps.data.language import vocabulary
from steps.data.speech import RELATIONS
from steps.diff import reading, relations
from steps.diff.drivers import patching
from steps.diff.drivers.pairs import LEVEL, Pairs, pairs
from steps.diff.drivers.targets import MARGIN, Target
from steps.diff.hooks import decoder_layers
from steps.models import build

SIZES = SimpleNamespace(
    tower_width=16, tower_layers=1, tower_heads=2, width=32, layers=2, heads=4, feed_forward=48
)
BATCH = 5


def made(groups):
    """A random model of four query heads on `groups` key-value heads, loud enough to be seen."""
    config = build.config(SIZES, 64, 8, vocabulary())
    config.text_config.num_key_value_heads = groups
    model = build.vlm(config, 0).eval().requires_grad_(False)
    for weight in model.model.language_model.layers.parameters():
        weight.mul_(4 if weight.ndim > 1 else 1)
    return model


@pytest.fixture(scope="module")
def processor(vlm):
    return vlm[1]


@pytest.fixture(scope="module")
def some(world, processor):
    """Scenes of all four relations, each with its twin."""
    return pairs(processor, 64, relations.draw(world, 3, 16), upright=True)


@pytest.fixture(scope="module")
def choices(processor):
    return reading.words(processor, RELATIONS)


@pytest.fixture(scope="module", params=[4, 2], ids=["plain", "grouped"])
def linear(request):
    """The first layer's heads go straight into the stream, and nothing else does."""
    model = made(request.param)
    for layer in decoder_layers(model):
        layer.mlp.down_proj.weight.zero_()
    decoder_layers(model)[1].self_attn.o_proj.weight.zero_()
    return model


def feature(site, row=None, relation="left"):
    generator = torch.Generator().manual_seed(1)
    row = torch.randn(32, generator=generator) if row is None else row
    return Target("chosen", site, 0, relation, row, row)


def every(model):
    layers, count = patching.heads(model)
    return [(layer, head) for layer in range(layers) for head in range(count)]


def by_patching(model, processor, some, aims, choices):
    """Exact drives as attribution has them: [T, S, L, H]."""
    found = patching.exact(model, processor, some, aims, choices, every(model), BATCH)
    return found.reshape(*found.shape[:2], *patching.heads(model))


def test_both_ways_agree_where_all_is_linear(linear, processor, some, choices):
    aims = [feature("residual.1"), feature("residual.0", relation="below")]
    drives = patching.attribution(linear, processor, some, aims, choices, BATCH)
    exact = by_patching(linear, processor, some, aims, choices)
    assert np.nanmax(np.abs(exact)) > 0.1
    np.testing.assert_allclose(drives.total, exact, atol=2e-5)
    # A twin in the mirror has the same words, so heads are all that tells it from the scene.
    whole = drives.scene - drives.twin
    level = some.table["relation"].isin(LEVEL).to_numpy()
    turned = np.where(some.table["relation"] == "left", whole[0], -whole[0])[level]
    np.testing.assert_allclose(np.nansum(exact[0], (1, 2))[level], turned, atol=1e-4)


def test_scenes_count_for_their_own_relations_alone(linear, processor, some, choices):
    aims = [MARGIN, feature("residual.1"), feature("residual.1", relation="above")]
    drive = patching.attribution(linear, processor, some, aims, choices, BATCH).drive
    level = some.table["relation"].isin(LEVEL).to_numpy()
    for i, own in enumerate((level, level, ~level)):
        assert (~np.isnan(drive[i, :, 0, 0, 0]) == own).all()


def test_a_head_given_what_it_gives_anyway_changes_nothing_at_all(processor, some, choices):
    model, same = made(2), Pairs(some.table, some.clean, some.clean)
    aims = [MARGIN, feature("residual.0"), feature("residual.1"), feature("mlp.1")]
    found = by_patching(model, processor, same, aims, choices)
    assert (np.nan_to_num(found) == 0).all() and not np.isnan(found[0]).all()


@pytest.mark.parametrize("site", ["residual.1", "mlp.1"])
def test_a_planted_head_of_the_targets_own_layer_is_found(site, processor, some, choices):
    model = made(4)
    for layer, block in enumerate(decoder_layers(model)):
        keep = block.self_attn.o_proj.weight[:, 8:16].clone()
        block.self_attn.o_proj.weight.zero_()
        if layer == 1:
            block.self_attn.o_proj.weight[:, 8:16] = keep
    aims = [feature(site)]
    drives = patching.attribution(model, processor, some, aims, choices, BATCH).total
    exact = by_patching(model, processor, some, aims, choices)
    for found in (np.nan_to_num(drives[0]), np.nan_to_num(exact[0])):
        size = np.abs(found).sum(0)
        assert size[1, 1] > 0 and size.sum() == size[1, 1]


def test_heads_behind_a_target_have_no_drive(linear, processor, some, choices):
    aims = [feature("residual.0")]
    drives = patching.attribution(linear, processor, some, aims, choices, BATCH).total
    exact = by_patching(linear, processor, some, aims, choices)
    level = some.table["relation"].isin(LEVEL).to_numpy()
    for found in (drives[0, level], exact[0, level]):
        assert np.isnan(found[:, 1]).all() and not np.isnan(found[:, 0]).any()


def test_a_feature_of_the_heads_themselves_hears_them(processor, some, choices):
    """What is captured at a site is from before it is patched: the patch must count even so."""
    model, row = made(4), torch.zeros(32)
    row[16:24] = torch.arange(1.0, 9.0)
    aims = [feature("heads.1", row)]
    drives = patching.attribution(model, processor, some, aims, choices, BATCH).total[0]
    exact = by_patching(model, processor, some, aims, choices)[0]
    level = some.table["relation"].isin(LEVEL).to_numpy()
    np.testing.assert_allclose(drives[level, 1], exact[level, 1], atol=1e-5)
    assert (np.abs(exact[level, 1]).sum(0) > 0).tolist() == [False, False, True, False]
    assert np.abs(exact[level, 0]).max() > 0


def test_slopes_are_those_of_small_steps(processor, some, choices, monkeypatch):
    """In a model that is not linear: a step of one head to its twin and back, by differences."""
    model, rows = made(2), some.rows(slice(0, 4))
    aims = [MARGIN, feature("residual.1")]
    drive = patching.attribution(model, processor, rows, aims, choices, BATCH).total
    whole, ends = patching._given, []

    def part(step, *which):
        change = whole(*which)
        return lambda x: x + step * (change(x) - x)

    for step in (0.05, -0.05):
        monkeypatch.setattr(patching, "_given", partial(part, step))
        ends.append(by_patching(model, processor, rows, aims, choices))
    slope, known = (ends[0] - ends[1]) / 0.1, ~np.isnan(drive)
    np.testing.assert_allclose(drive[known], slope[known], rtol=0.02, atol=1e-3)


def test_drives_do_not_depend_on_the_batch(processor, some, choices):
    model, aims = made(4), [MARGIN, feature("residual.1")]
    one, all_at_once = (
        patching.attribution(model, processor, some, aims, choices, batch).total
        for batch in (3, 99)
    )
    np.testing.assert_allclose(one, all_at_once, atol=1e-4)


def test_tokens_of_scene_and_twin_stand_one_for_one(some, processor):
    ids, other = some.clean.ids, some.twin.ids
    assert (some.clean.mask == some.twin.mask).all() and (some.clean.types == some.twin.types).all()
    level = torch.tensor(some.table["relation"].isin(LEVEL).to_numpy())
    assert level.any() and (~level).any()
    assert (ids == other).all(1).tolist() == level.tolist()
    assert np.array_equal(some.clean.images[~level], some.twin.images[~level])
    assert np.array_equal(some.clean.images[level][:, :, ::-1], some.twin.images[level])
    assert (some.true() != some.swapped()).all()
