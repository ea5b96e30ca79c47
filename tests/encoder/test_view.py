"""A view of fixed width is scikit-learn's principal components."""

import numpy as np
import pytest

from steps.encoder import view


def test_components_are_scikit_learns():
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).normal(size=(60, 12)) * np.arange(1, 13)
    mine, theirs = view.components(x, 5), PCA(5).fit(x).components_.T
    np.testing.assert_allclose(np.abs((mine * theirs).sum(0)), 1, atol=1e-8)
    np.testing.assert_allclose(mine.T @ mine, np.eye(5), atol=1e-10)


def test_other_sets_are_seen_through_the_training_images_alone():
    rng = np.random.default_rng(1)
    sets = {"classify": rng.normal(size=(40, 8)), "digits": rng.normal(size=(9, 8))}
    seen = view.fixed(sets.__getitem__, np.arange(30), 3)
    assert seen("digits").shape == (9, 3)
    other = dict(sets, classify=sets["classify"].copy())
    other["classify"][30:] += 100  # test images
    again = view.fixed(other.__getitem__, np.arange(30), 3)
    np.testing.assert_array_equal(seen("digits"), again("digits"))


def test_a_width_that_is_not_there():
    with pytest.raises(ValueError, match=r"classify.pca = 9: there are 8 features"):
        view.components(np.zeros((40, 8)), 9)
