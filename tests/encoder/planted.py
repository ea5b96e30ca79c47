"""Two classes whose best possible probe is known, for the calibration of all kinds of probes."""

from statistics import NormalDist

import numpy as np


def two(distance, n, width, seed):
    """Two Gaussian classes, `distance` standard deviations apart: Bayes is right Phi(d / 2)."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2, n)
    x = rng.normal(size=(n, width))
    x[:, 0] += distance * (codes - 0.5)
    return x, codes


def assert_found(told, distance, width, tests):
    """A probe finds what is planted and nothing else: within 4 sigma of Bayes and of chance.

    told: (x, labels, new x) to the codes that the probe gives the new ones. Both labels are
    shuffled: against the true ones a probe of shuffled labels is a random direction.
    """
    x, codes = two(distance, 4000, width, 1)
    new, truth = two(distance, tests, width, 2)
    best = NormalDist().cdf(distance / 2)
    rng = np.random.default_rng(3)
    shuffled = rng.permutation(codes), rng.permutation(truth)
    for labels, asked, expected in ((codes, truth, best), (*shuffled, 0.5)):
        right = (told(x, labels, new) == asked).mean()
        assert abs(right - expected) < 4 * np.sqrt(0.25 / tests)
