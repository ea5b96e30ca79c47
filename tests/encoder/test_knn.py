"""Weighted k-NN against scikit-learn's, by hand, and on classes of known separation."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from steps.encoder import knn
from steps.encoder.logistic import slices
from steps.stage import StageError
from tests.encoder.planted import assert_found, two


def five(n, seed):
    """Five noisy classes in features off centre."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 5, n)
    x = rng.normal(size=(n, 7)) + 0.3
    x[np.arange(n), codes] += 1.5
    return x, codes


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_equals_scikit_learn(kind, temperature, monkeypatch):
    (x, codes), (new, _) = five(400, 0), five(150, 1)
    x, new = x.astype(kind), new.astype(kind)
    monkeypatch.setattr(knn, "QUERIES", 64)
    monkeypatch.setattr(knn, "BLOCK", 90)  # fewer than the largest k, and no divisor of 400
    told = knn.predict(x, codes, new, 5, temperature=temperature)
    assert list(told) == [10, 20, 100, 200]
    for k, ours in told.items():
        peer = KNeighborsClassifier(
            k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / temperature)
        )
        theirs = peer.fit(x.astype(float), codes).predict(new.astype(float))
        assert (ours == theirs).all(), k
    assert (told[10] != told[200]).any()


def test_a_vote_worked_by_hand():
    """One sample of class 1 near at hand against three of class 0 at a right angle."""
    x = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [0.0, 9.0]])
    codes, asked = np.array([1, 0, 0, 0]), np.array([[5.0, 0.0]])
    # exp(1 / T) against 3: class 1 below T = 1 / ln 3 = 0.91, class 0 above.
    assert knn.predict(x, codes, asked, 2, [4], 0.9)[4] == [1]
    assert knn.predict(x, codes, asked, 2, [4], 0.92)[4] == [0]
    assert knn.predict(x, codes, asked, 2, [1, 99], 1e-4)[99] == [1]  # k clipped; no overflow


def test_no_blocks_no_lengths_and_no_zeros_matter(monkeypatch):
    (x, codes), (new, _) = five(300, 0), five(80, 1)
    whole = knn.predict(x, codes, new, 5)
    long = np.random.default_rng(2).uniform(0.1, 50, (300, 1))
    monkeypatch.setattr(knn, "BLOCK", 17)
    parts = knn.predict(x * long, codes, new, 5)
    assert all((whole[k] == parts[k]).all() for k in whole)
    new[0] = 0
    assert knn.predict(x, codes, new, 5)[10].shape == (80,)


def test_k_is_chosen_on_a_slice_of_train():
    x, codes = five(300, 3)
    ks = [200, 1, 30]
    best = knn.choose(x, codes, 5, ks, share=0.3, seed=2)
    chosen, rest = slices(300, 0.3, 2)
    told = knn.predict(x[rest], codes[rest], x[chosen], 5, ks)
    right = {k: (told[k] == codes[chosen]).mean() for k in ks}
    assert right[best] == max(right.values()) > min(right.values())
    x, codes = two(40.0, 100, 3, 0)  # so far apart that all are right
    assert knn.choose(x, codes, 2, [9, 3, 5]) == 3


@pytest.mark.parametrize("distance", [1.0, 2.5])
def test_finds_what_is_planted_and_nothing_else(distance):
    """Normalising keeps the side of the plane between the classes, and with it Bayes' share."""

    def told(x, labels, new):
        k = knn.choose(x, labels, 2)
        return knn.predict(x, labels, new, 2, [k])[k]

    assert_found(told, distance, 3, 2000)


def test_errors_say_what_to_do():
    x, codes = five(50, 0)
    for wrong, says in (
        ((x[:0], codes[:0], x, 5), "more than none"),
        ((x, codes * 0, x, 5), "needs two"),
        ((x, codes, x, 5, [0, 10]), "at least 1"),
        ((x, codes, x, 5, []), "one is needed"),
    ):
        with pytest.raises(StageError, match=says):
            knn.predict(*wrong)
    with pytest.raises(StageError, match="at least 1"):
        knn.choose(x, codes, 5, [0])
