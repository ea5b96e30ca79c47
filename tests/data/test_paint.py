"""Scenes of photographs: drawn by the same code, with the same promises."""

import numpy as np
import pytest

from steps.data import items, photos
from steps.data import world as w
from steps.data.paint import render
from steps.data.sprites import PLATE


@pytest.fixture
def bank(folder):
    return photos.bank(folder)


@pytest.fixture
def shown(world):
    """A world of photographs, large enough to be seen whole, without noise or letters."""
    plain = {"noise": 0.0, "blotch": 0.0, "letter_share": 0.0, "contrast": 1.0}
    sizes = {"objects": [1, 3], "large": [32, 40], "small": [16, 24]}
    return world.model_copy(update={"sprites": "photos"} | plain | sizes)


def draw(world, bank, n=200, split="probe", **kwargs):
    return w.sample(world, np.random.default_rng(3), n, split, bank=bank, **kwargs)


def test_masks_are_the_alpha_of_what_is_painted(shown, bank):
    s = draw(shown, bank)
    images, owner = render(shown, s)
    assert ((owner >= 0) == (images[..., 2] == 130)).all()  # the blue of every cut-out alone
    assert bank.classes == ("fruit", "tools", "toys")
    green = np.array([0, 160, 80])  # a category's green tells it apart
    scene, y, x = np.nonzero(owner >= 0)
    seen = owner[scene, y, x]
    assert (images[scene, y, x, 1] == green[s.shape[scene, seen]]).all()
    numbers = np.array([int(path[-6:-4]) for path in bank.paths])
    assert (images[scene, y, x, 0] == 20 * numbers[s.photo[scene, seen]]).all()


def test_the_main_photograph_is_whole_and_the_largest(shown, bank):
    s = draw(shown, bank, 600, main=True)
    owner = render(shown, s)[1]
    area = np.stack([(owner == k).sum((1, 2)) for k in range(3)], 1)
    d = s.d[:, 0].astype(int)
    assert set(d) == set(range(32, 41))
    assert (area[:, 0] == d * np.round(0.75 * d)).all()  # 40 x 30, cropped from 60 x 40
    assert (area[:, 0] > area[:, 1:].max(1)).all()
    assert set(np.unique(s.d[:, 1:])) == {0, *range(16, 25)}
    assert set((s.shape >= 0).sum(1)) == {1, 2, 3}
    assert np.bincount(s.shape[:, 0], minlength=3).min() > 160  # of 200 expected


def test_no_photograph_of_a_test_scene_is_in_any_other(shown, bank):
    side = np.array(bank.splits)
    for split in w.SPLITS:
        s = draw(shown, bank, 400, split)
        there = s.shape >= 0
        wanted = "test" if split == "test" else "train"
        assert set(s.photo[there]) == set(np.flatnonzero(side == wanted))
        assert (s.photo[~there] == -1).all()
        assert set(w.code(s)) <= set(w.SPLITS[split])
        assert np.array_equal(w.code(s), w.code(w.mirror(s)))


def test_same_seed_same_pixels_and_an_image_depends_on_its_scene_alone(world, shown, bank):
    noisy = shown.model_copy(update={"noise": 20.0, "blotch": 10.0, "letter_share": 0.5})
    s, again = draw(noisy, bank, 30), draw(noisy, bank, 30)
    images = render(noisy, s)[0]
    assert np.array_equal(images, render(noisy, again)[0])
    rows = np.array([7, 3])
    assert np.array_equal(images[rows], render(noisy, s.take(rows))[0])
    assert np.array_equal(images[:, :, ::-1], render(noisy, s, mirrored=True)[0])


def test_noise_and_letters_lie_on_top_and_contrast_fades(shown, bank):
    s = draw(shown, bank, 60)
    clean, owner = render(shown, s)
    blue = clean[..., 2].astype(float)
    noisy = render(shown.model_copy(update={"noise": 10.0}), s)[0][..., 2]
    for part in (owner >= 0, (owner < 0) & (blue < 200)):  # nothing is clipped there
        assert abs((noisy - blue)[part].std() - 10) < 0.3
    faded = render(shown.model_copy(update={"contrast": 0.5}), s)[0][..., 2]
    ground = np.array([45, 200, 85, 150])[s.ground][:, None, None]
    expected = np.broadcast_to((130 + ground) / 2, owner.shape)
    lone = ((s.shape >= 0).sum(1) == 1)[:, None, None] & (owner >= 0)
    assert lone.any() and abs(faded - expected)[lone].max() <= 1

    lettered = shown.model_copy(update={"letter_share": 1.0})
    owner = render(lettered, draw(lettered, bank))[1]
    assert ((owner == -2).sum((1, 2)) == PLATE[0] * PLATE[1]).all()


def test_what_is_new_to_training_is_a_photograph_of_the_test(shown, bank):
    s = draw(shown, bank, 400, "test", novel=True)
    assert (s.color == -1).all() and (s.texture == -1).all() and items.has_novel(s).all()
    assert not items.has_novel(draw(shown, bank, 400, "probe")).any()
