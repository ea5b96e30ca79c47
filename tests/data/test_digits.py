import numpy as np
import pytest
from sklearn.datasets import load_digits

from steps.data.digits import GROUNDS, INKS, digits


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def plain():
    return digits(rng())


def test_shapes_labels_and_determinism(plain):
    images, labels, split = plain
    again, _, _ = digits(rng())
    other, _, _ = digits(rng(1))
    assert images.shape == (1797, 64, 64, 3) and images.dtype == np.uint8
    assert (labels == load_digits().target).all() and len(split) == 1797
    assert (images == again).all()
    assert (images != other).any((1, 2, 3)).mean() > 0.95  # ground and size are drawn anew


def test_a_digit_is_its_source_enlarged_and_centred(plain):
    images, _, _ = plain
    source = load_digits().images
    for i in range(0, 1797, 60):
        ink = images[i, ..., 0].astype(float) - images[i, 0, 0, 0]
        ys, xs = np.nonzero(ink)
        assert min(ys.min(), xs.min(), 63 - ys.max(), 63 - xs.max()) >= 3  # a frame stays free
        fits = [
            np.corrcoef(
                ink[a : a + s, a : a + s].reshape(8, s // 8, 8, s // 8).mean((1, 3)).ravel(),
                source[i].ravel(),
            )[0, 1]
            for s in (40, 48, 56)
            for a in [32 - s // 2]
        ]
        assert max(fits) > 0.9


def test_pool_and_test_are_disjoint_stratified_and_the_same_in_every_run(plain):
    _, labels, split = plain
    assert digits(rng(7))[2] == split
    side = np.array(split)
    assert set(split) == {"pool", "test"}
    for label in range(10):
        assert 0.38 < (side[labels == label] == "pool").mean() < 0.42
    source = load_digits().data
    seen = {row.tobytes() for row in source[side == "pool"]}
    assert not any(row.tobytes() in seen for row in source[side == "test"])


def test_ground_is_dark_and_even_without_noise(plain):
    images, _, _ = plain
    corner = images[:, 0, 0]
    assert (corner >= GROUNDS[0]).all() and (corner <= GROUNDS[1]).all()
    assert (images[:, 0] == corner[:, None]).all()


@pytest.mark.parametrize(("level", "ink"), [(40, INKS[0]), (210, INKS[1])])
def test_under_noise_the_ground_is_the_given_one_and_the_ink_stands_out(plain, level, ink):
    drawn = []

    def noise(rng, n):
        drawn.append(rng.normal(level, 8, (n, 64, 64, 3)).astype(np.float32))
        return drawn[0]

    images, _, split = digits(rng(), noise=noise)
    assert split == plain[2]
    assert (images[:, 0] == drawn[0][:, 0].clip(0, 255).astype(np.uint8)).all()
    darkest_and_brightest = np.percentile(images[:, 16:48, 16:48], [1, 99], axis=(1, 2, 3))
    assert (abs(darkest_and_brightest - ink).min(0) < 30).mean() > 0.99


def test_a_canvas_too_small_is_refused():
    with pytest.raises(ValueError, match="canvas is 8 pixels"):
        digits(rng(), canvas=8)
