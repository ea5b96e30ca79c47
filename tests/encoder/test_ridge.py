"""Closed-form ridge against scikit-learn and against its own definition."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from steps.encoder import ridge


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 20)) @ rng.normal(size=(20, 20)) + 5
    x[:, 3] = 7.0  # a feature that never varies
    codes = (x[:, :4] @ rng.normal(size=(4, 4)) + rng.normal(size=(300, 4))).argmax(1)
    return x, ridge.signs(codes, 4)


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 30.0, 1e4])
def test_equals_scikit_learn(data, penalty):
    x, y = data
    w, b = ridge.weights(ridge.factorise(ridge.moments(x, y)), penalty)
    scaled = StandardScaler().fit_transform(x)
    told = Ridge(alpha=penalty).fit(scaled, y).predict(scaled)
    np.testing.assert_allclose(x @ w + b, told, atol=1e-4)


@pytest.mark.parametrize("n", [300, 12])  # more samples than features, and fewer
def test_few_equals_scikit_learn_and_refitting_without_each(data, n):
    x, y = data[0][:n], data[1][:n]
    penalties = [0.1, 10.0]
    w, b, left_out = ridge.few(x, y, penalties)
    scaled = StandardScaler().fit_transform(x)
    for i, penalty in enumerate(penalties):
        told = Ridge(alpha=penalty).fit(scaled, y).predict(scaled)
        np.testing.assert_allclose(x @ w[i] + b[i], told, atol=1e-4)
        for out in (0, 7):
            rest = np.arange(n) != out
            again = Ridge(alpha=penalty).fit(scaled[rest], y[rest]).predict(scaled[[out]])
            np.testing.assert_allclose(left_out[i, out], again[0], atol=1e-6)


def test_merged_moments_equal_those_of_all(data):
    x, y = data
    both = ridge.merge(ridge.moments(x[:50], y[:50]), ridge.moments(x[50:], y[50:]))
    whole = ridge.moments(x, y)
    for name, value in vars(whole).items():
        np.testing.assert_allclose(getattr(both, name), value, atol=1e-8, err_msg=name)


def test_inputs_are_left_alone(data):
    x, y = data
    before = x.copy(), y.copy()
    ridge.moments(x, y)
    ridge.few(x, y, [1.0])
    assert (x == before[0]).all() and (y == before[1]).all()
