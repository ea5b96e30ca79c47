"""Logistic regression against scikit-learn's Newton solver, and on classes of known separation."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from steps.encoder import classify, logistic, ridge
from steps.stage import StageError
from tests.encoder.planted import assert_found, two

SHAPES = {"N > D": (240, 8, 4), "D > N": (40, 60, 3), "two classes": (150, 6, 2)}


def data(n, width, classes, seed=0):
    """Features of unequal scale, off centre and one of them constant, and noisy classes."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, width))
    codes = (z[:, :4] @ rng.normal(size=(4, classes)) + 2 * rng.normal(size=(n, classes))).argmax(1)
    x = z * rng.uniform(0.2, 5, width) + 5
    x[:, 5] = 7.0
    return x, codes


def softmax(logits):
    grown = np.exp(logits - logits.max(1, keepdims=True))
    return grown / grown.sum(1, keepdims=True)


@pytest.mark.parametrize("c", [1e-4, 0.03, 1.0, 100.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_scikit_learn(shape, c):
    x, codes = data(*SHAPES[shape])
    classes = SHAPES[shape][2]
    assert len(np.unique(codes)) == classes
    new = data(*SHAPES[shape], seed=1)[0]
    w = logistic.fit(x, codes, classes, c)
    scaler = StandardScaler().fit(x)
    peer = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    peer.fit(scaler.transform(x), codes)
    for seen in (x, new):
        told = softmax(seen @ w[:-1] + w[-1])
        np.testing.assert_allclose(told, peer.predict_proba(scaler.transform(seen)), atol=1e-4)
        assert (told.argmax(1) == peer.predict(scaler.transform(seen))).all()


def test_chunks_a_start_and_half_precision_change_nothing(monkeypatch):
    x, codes = data(*SHAPES["N > D"])
    x = x.astype(np.float16)
    whole = logistic.fit(x.astype(float), codes, 4, 0.5)
    monkeypatch.setattr(logistic, "CHUNK", 7)
    before = x.copy()
    other = logistic.fit(x, codes, 4, 30.0)
    warm = logistic.fit(x, codes, 4, 0.5, other)
    assert np.abs(other - whole).max() > 0.1
    for w in (logistic.fit(x, codes, 4, 0.5), warm):
        told, truth = (softmax(x.astype(float) @ v[:-1] + v[-1]) for v in (w, whole))
        np.testing.assert_allclose(told, truth, atol=1e-5)
    assert (x == before).all()


def test_c_is_chosen_on_a_slice_and_the_fit_is_on_all():
    x, codes = data(200, 30, 3)
    cs = [1e-3, 0.1, 10.0]
    w, c = logistic.path(x, codes, 3, cs, share=0.25, seed=4)
    chosen, rest = logistic.slices(200, 0.25, 4)
    assert sorted([*chosen, *rest]) == list(range(200)) and len(chosen) == 50
    right = []
    for one in cs:
        v = logistic.fit(x[rest], codes[rest], 3, one)
        right.append(((x[chosen] @ v[:-1] + v[-1]).argmax(1) == codes[chosen]).mean())
    assert len(set(right)) > 1 and c == cs[int(np.argmax(right))]
    full = logistic.fit(x, codes, 3, c)
    np.testing.assert_allclose(
        softmax(x @ w[:-1] + w[-1]), softmax(x @ full[:-1] + full[-1]), atol=1e-4
    )


def test_of_equal_c_the_stronger_penalty_is_taken():
    x, codes = two(40.0, 100, 3, 0)  # so far apart that every C is right
    assert logistic.path(x, codes, 2, [1.0, 0.01, 0.1])[1] == 0.01


@pytest.mark.parametrize("distance", [1.0, 2.5])
def test_finds_what_is_planted_and_nothing_else(distance):
    def told(x, labels, new):
        w, _ = logistic.path(x, labels, 2, [1e-4, 1e-2, 1.0])
        return (new @ w[:-1] + w[-1]).argmax(1)

    assert_found(told, distance, 8, 4000)


def test_the_slice_is_that_of_the_ridge(monkeypatch):
    """One slice of train chooses for all probes of a seed."""
    x, codes = two(2.0, 60, 3, 0)
    x[:, 2] = np.arange(60)  # a sample's number, to know it again
    rows = pd.DataFrame({"split": ["train"] * 40 + ["test"] * 20, "label": codes})
    seen, moments = [], ridge.moments
    monkeypatch.setattr(ridge, "moments", lambda x, y: seen.append(x[:, 2]) or moments(x, y))
    section = SimpleNamespace(select_share=0.2, penalties=[1.0])
    classify.linear(x, rows, ["label"], section, seed=5)
    chosen, rest = logistic.slices(40, 0.2, 5)
    assert [sorted(part) for part in seen] == [list(rest), list(chosen)]


def test_errors_say_what_to_do():
    x, codes = data(*SHAPES["N > D"])
    for wrong, says in (
        ((x, codes[:9], 4), "equally many"),
        ((x[:0], codes[:0], 4), "more than none"),
        ((x, codes * 0, 4), "needs two"),
        ((x, codes, 1), "needs two"),
        ((x, codes, 3), "from 0"),
    ):
        with pytest.raises(StageError, match=says):
            logistic.fit(*wrong, 1.0)
        with pytest.raises(StageError, match=says):
            logistic.path(*wrong)
