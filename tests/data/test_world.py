"""The world's promises: deterministic, disjoint splits, true masks, exact mirrored twins."""

import numpy as np
import pytest

from steps.data import world as w
from steps.data.paint import render


def draw(world, split="train", n=400, seed=0, **kwargs):
    return w.sample(world, np.random.default_rng(seed), n, split, **kwargs)


def test_same_seed_same_scenes_and_pixels(world):
    a, b = draw(world), draw(world)
    assert all(np.array_equal(getattr(a, k), getattr(b, k)) for k in vars(a) if k != "canvas")
    assert np.array_equal(render(world, a)[0], render(world, b)[0])
    assert not np.array_equal(a.x, draw(world, seed=1).x)


def test_an_image_depends_on_its_scene_alone(world):
    scenes = draw(world, n=30)
    rows = np.array([7, 3])
    assert np.array_equal(render(world, scenes)[0][rows], render(world, scenes.take(rows))[0])


@pytest.mark.parametrize("split", w.SPLITS)
def test_every_scene_of_a_split_lies_in_it_and_so_does_its_twin(world, split):
    scenes = draw(world, split, novel=True)
    codes = w.code(scenes)
    assert set(codes) <= set(w.SPLITS[split])
    assert np.array_equal(codes, w.code(w.mirror(scenes)))


def test_splits_share_no_residue():
    residues = [r for group in w.SPLITS.values() for r in group]
    assert sorted(residues) == list(range(10))


def test_the_split_does_not_depend_on_the_order_of_objects(world):
    scenes = draw(world, "test")
    flipped = w.Scenes(
        scenes.canvas,
        **{k: v[:, ::-1] if v.ndim == 2 else v for k, v in scenes.arrays().items()},
    )
    assert np.array_equal(w.code(scenes), w.code(flipped))


def test_unknown_split_is_refused(world):
    with pytest.raises(ValueError, match="train, tune, probe, test"):
        draw(world, "dev")


def test_training_never_shows_a_held_out_combination_and_evaluation_does(world):
    def shown(s):
        there = s.shape >= 0
        return w.held_out(s.shape[there], s.color[there], s.texture[there]).mean()

    assert shown(draw(world, "train", 2000)) == 0
    assert shown(draw(world, "test", 2000, novel=True)) > 0.05


def test_objects_stay_on_the_canvas(world):
    s = draw(world, n=2000)
    there, half = s.shape >= 0, s.d // 2
    for centre in (s.x, s.y):
        assert (centre - half)[there].min() >= 0
        assert (centre + half)[there].max() <= world.canvas


def test_mirrored_pixels_are_those_of_the_mirrored_scene(world):
    """Without noise: flipping the picture and flipping the scene paint the same image."""
    clean = world.model_copy(update={"noise": 0.0, "blotch": 0.0})
    scenes = draw(clean, n=100)
    flipped, owner = render(clean, scenes, mirrored=True)
    painted, twin_owner = render(clean, w.mirror(scenes))
    assert np.array_equal(flipped, painted)
    assert np.array_equal(owner, twin_owner)


def test_masks_lie_where_the_objects_are(world):
    scenes = draw(world, n=200)
    owner = render(world, scenes)[1]
    for k in range(scenes.shape.shape[1]):
        rows = np.flatnonzero(scenes.shape[:, k] >= 0)
        for i in rows[:40]:
            y, x = np.nonzero(owner[i] == k)
            if len(y):  # a later object may hide an earlier one wholly
                radius = scenes.d[i, k] / 2 + 1
                assert abs(y - scenes.y[i, k]).max() <= radius
                assert abs(x - scenes.x[i, k]).max() <= radius
    assert (owner[scenes.shape[:, 0] < 0] < 0).all()


def test_main_object_is_the_only_large_one(world):
    s = draw(world, main=True)
    assert (s.size[:, 0] == 1).all()
    assert (s.size[:, 1:][s.shape[:, 1:] >= 0] == 0).all()


def test_textures_differ_in_pixels_but_not_in_any_word(world):
    from steps.data.language import vocabulary
    from steps.data.sprites import TEXTURES, textures

    assert not set(TEXTURES) & set(vocabulary())
    patterns = textures(21)
    for i in range(len(TEXTURES)):
        assert np.array_equal(patterns[i], patterns[i][:, ::-1])
        for j in range(i):
            assert abs(patterns[i] - patterns[j]).mean() > 0.05
