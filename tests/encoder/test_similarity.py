"""Measures of likeness against slow or independent forms, and on cases whose truth is known."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from steps.encoder import similarity

WIDTHS = [(6, 9), (60, 70)]  # of 40 things: fewer columns than things, and more


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def alike(rng, widths):
    """Two representations of 40 things that have something in common, far from zero."""
    common = rng.normal(size=(40, 4))
    return [5 + common @ rng.normal(size=(4, d)) + rng.normal(size=(40, d)) for d in widths]


def gram(x):
    """The Gram matrix, centred on both sides as the definition has it."""
    middle = np.eye(len(x)) - 1 / len(x)
    return middle @ x @ x.T @ middle


def unbiased(x, y):
    """HSIC_1 term by term, sums over distinct indices, of features that were never centred."""
    k, other = x @ x.T, y @ y.T
    n = len(x)
    pairs = triples = 0.0
    total_k, total_other = k.sum() - np.trace(k), other.sum() - np.trace(other)
    for i in range(n):
        for j in range(n):
            if i != j:
                pairs += k[i, j] * other[i, j]
                triples += sum(k[i, j] * other[i, q] for q in range(n) if q not in (i, j))
    quads = total_k * total_other - 4 * triples - 2 * pairs
    quads /= n * (n - 1) * (n - 2) * (n - 3)
    return pairs / (n * (n - 1)) + quads - 2 * triples / (n * (n - 1) * (n - 2))


@pytest.mark.parametrize("widths", WIDTHS)
def test_cka_is_the_ratio_of_centred_gram_matrices(rng, widths):
    x, y = alike(rng, widths)
    k, other = gram(x), gram(y)
    told = np.trace(k @ other) / np.sqrt(np.trace(k @ k) * np.trace(other @ other))
    assert similarity.cka(x, y) == pytest.approx(told, rel=1e-10)


@pytest.mark.parametrize("widths", WIDTHS)
def test_debiased_cka_is_the_ratio_of_u_statistics(rng, widths):
    x, y = alike(rng, widths)
    told = unbiased(x, y) / np.sqrt(unbiased(x, x) * unbiased(y, y))
    assert similarity.cka_debiased(x, y) == pytest.approx(told, rel=1e-8)


@pytest.mark.parametrize("widths", [(7, 7), (60, 60), (9, 6)])
def test_procrustes_is_what_the_best_rotation_leaves(rng, widths):
    x, y = alike(rng, widths)
    x, y = (part - part.mean(0) for part in (x, y))
    x, y = (part / np.linalg.norm(part) for part in (x, y))
    wide = np.pad(y, ((0, 0), (0, x.shape[1] - y.shape[1])))
    turn, _ = orthogonal_procrustes(x, wide)
    told = np.square(x @ turn - wide).sum() / 2
    assert similarity.procrustes(*alike(np.random.default_rng(0), widths)) == pytest.approx(told)


def test_neighbours_and_their_overlap_by_a_slow_loop(rng):
    x, y = alike(rng, (6, 9))
    for k in (1, 5, 39):
        sets = []
        for part in (x, y):
            near = []
            for i, one in enumerate(part):
                cosines = [
                    (one @ other / np.linalg.norm(one) / np.linalg.norm(other), j)
                    for j, other in enumerate(part)
                    if j != i
                ]
                near.append({j for _, j in sorted(cosines)[-k:]})
            sets.append(near)
        told = [len(a & b) / k for a, b in zip(*sets, strict=True)]
        weights = similarity.neighbours(x, k), similarity.neighbours(y, k)
        np.testing.assert_allclose(similarity.shared(*weights), told)


def test_equally_near_share_a_place():
    angles = np.radians([0, 10, 10, 10, 80])
    x = np.stack([np.cos(angles), np.sin(angles)], 1)
    weights = similarity.neighbours(x, 2)
    np.testing.assert_allclose(weights[0], [0, 2 / 3, 2 / 3, 2 / 3, 0])
    np.testing.assert_allclose(weights[1], [0, 0, 1, 1, 0])
    np.testing.assert_allclose(weights.sum(1), 2)


def test_calibration_equal_and_turned(rng):
    for width in (8, 70):  # fewer and more columns than things
        x = 3 + rng.normal(size=(40, width)) * np.geomspace(10, 0.1, width)
        turned = 7.5 * x @ ortho_group.rvs(width, random_state=1) - 20
        for y in (x.copy(), turned):
            assert similarity.cka(x, y) == pytest.approx(1, abs=1e-9)
            assert similarity.cka_debiased(x, y) == pytest.approx(1, abs=1e-9)
            assert similarity.procrustes(x, y) == pytest.approx(0, abs=1e-9)
            assert similarity.effective_rank(x) == pytest.approx(similarity.effective_rank(y))
        near = [similarity.neighbours(part, 5) for part in (x, turned + 20)]
        np.testing.assert_array_equal(similarity.shared(near[0], near[0]), 1)
        np.testing.assert_array_equal(similarity.shared(*near), 1)  # turned and scaled: the same
        assert similarity.shared(near[0], similarity.neighbours(turned, 5)).mean() < 1


def test_calibration_unrelated(rng):
    """Wide features of few things: plain CKA takes noise for likeness, debiased CKA does not."""
    plain, debiased, near = [], [], []
    for _ in range(20):
        x, y = rng.normal(size=(2, 60, 200))
        plain.append(similarity.cka(x, y))
        debiased.append(similarity.cka_debiased(x, y))
        near.append(similarity.shared(similarity.neighbours(x, 6), similarity.neighbours(y, 6)))
    assert min(plain) > 0.7
    assert abs(np.mean(debiased)) < 0.01 and max(np.abs(debiased)) < 0.05
    assert min(debiased) < 0 < max(debiased)
    assert np.mean(near) == pytest.approx(6 / 59, abs=0.015)


def test_ranks_of_equal_directions(rng):
    for k in (1, 5, 12):
        turn = ortho_group.rvs(30, random_state=k)[:k]
        noise = np.c_[np.ones(50), rng.normal(size=(50, k))]
        x = np.linalg.qr(noise)[0][:, 1:]  # orthonormal columns of mean 0
        for features in (4 * x @ turn, 4 * x @ turn + 9):
            assert similarity.effective_rank(features) == pytest.approx(k)
            assert similarity.participation_ratio(features) == pytest.approx(k)
    x = x[:, :2] * [3, 1]
    shares = np.array([3, 1]) / 4
    assert similarity.effective_rank(x) == pytest.approx(np.exp(-shares @ np.log(shares)))
    assert similarity.participation_ratio(x) == pytest.approx(100 / 82)  # (9 + 1)^2 / (81 + 1)


def test_alignment_tells_what_is_there_and_its_null_what_is_not(rng):
    common = rng.normal(size=(80, 3))
    text, arm, base = (common + s * rng.normal(size=(80, 3)) for s in (0.1, 0.2, 1.0))
    told = similarity.alignment(arm, base, text, 5, 400, np.random.default_rng(1))
    assert told == similarity.alignment(arm, base, text, 5, 400, np.random.default_rng(1))
    for name in ("align", "align_base", "align_gain"):
        assert told[f"{name}_low"] < told[name] < told[f"{name}_high"]
    assert told["align_gain"] == pytest.approx(told["align"] - told["align_base"])
    assert told["align_gain_low"] > 0
    assert told["align_chance"] == 5 / 79
    assert told["align_null"] == pytest.approx(5 / 79, abs=0.003)
    assert told["align_null"] < told["align_null_high"] < told["align_low"]
    same = similarity.alignment(arm, arm, text, 5, 50, rng)
    assert same["align_gain"] == same["align_gain_low"] == same["align_gain_high"] == 0
    assert (same["align_low"], same["align_high"]) == (
        same["align_base_low"],
        same["align_base_high"],
    )


def test_interval_is_as_wide_as_the_mean_is_unsure(rng):
    values = rng.normal(size=400)
    low, high = similarity.interval(values, rng.integers(0, 400, (4000, 400)))
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_weights_moved():
    old = [np.array([[3.0, 0.0]]), np.array([4.0])]
    assert similarity.moved(old, old) == 0
    assert similarity.moved([old[0] + 1, old[1]], old) == pytest.approx(2**0.5 / 5)
    with pytest.raises(ValueError, match="cannot have been"):
        similarity.moved([old[1], old[0]], old)
    with pytest.raises(ValueError, match="all zero"):
        similarity.moved([np.ones(2)], [np.zeros(2)])


def test_what_cannot_be_compared(rng):
    x = rng.normal(size=(10, 3))
    with pytest.raises(ValueError, match="do not vary"):
        similarity.cka(x, np.ones((10, 3)))
    with pytest.raises(ValueError, match="do not vary"):
        similarity.effective_rank(np.ones((10, 3)))
    with pytest.raises(ValueError, match="10 rows cannot be compared with 9"):
        similarity.procrustes(x, x[:9])
    with pytest.raises(ValueError, match="needs 4 rows"):
        similarity.cka_debiased(x[:3], x[:3])
    with pytest.raises(ValueError, match="give 1 to 9"):
        similarity.neighbours(x, 10)
