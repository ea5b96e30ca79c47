import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from steps.study import stats


def test_interval_equals_a_textbook_one():
    # Student's own sleep data: extra hours of the second drug over the first, ten patients
    sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    found = stats.paired(sleep, 0.95)
    assert found.mean == pytest.approx(1.58)
    assert (found.low, found.high) == pytest.approx((0.7001, 2.4599), abs=1e-4)  # R's t.test
    assert found.n == 10


def test_one_seed_has_a_mean_and_no_interval():
    assert stats.paired([0.25], 0.95) == stats.Interval(0.25, None, None, 1)
    assert stats.paired([], 0.95) is None
    assert stats.smallest(1.0, 1, 0.8, 0.95) is None


def test_pooled_weighs_by_degrees_of_freedom():
    assert stats.pooled([[0, 2], [0, 2, 4, 6], [9]]) == pytest.approx(math.sqrt((2 + 20) / 4))
    assert stats.pooled([[1], []]) is None
    with pytest.raises(ValueError, match="at least two"):
        stats.deviation([1.0])


@pytest.mark.parametrize(("n", "effect"), [(10, 0.9962), (20, 0.6604), (34, 0.4949)])
def test_smallest_difference_equals_published_power_tables(n, effect):
    # power.t.test(n, type = "one.sample", power = .8): Cohen's d
    assert stats.smallest(1.0, n, 0.8, 0.95) == pytest.approx(effect, abs=2e-3)


def test_smallest_difference_scales_with_noise_and_falls_with_seeds():
    at = [stats.smallest(1.5, n, 0.8, 0.95) for n in (2, 3, 4, 6, 8, 20)]
    assert at == sorted(at, reverse=True)
    assert stats.smallest(3.0, 5, 0.8, 0.95) == pytest.approx(2 * stats.smallest(1.5, 5, 0.8, 0.95))
    assert stats.smallest(0.0, 3, 0.8, 0.95) == 0


@pytest.mark.parametrize("n", [3, 8])
def test_intervals_cover_and_power_holds_in_simulation(n):
    """Coverage, and power at the stated smallest difference, within binomial tolerance."""
    runs, sd = 4000, 2.0
    truth = stats.smallest(sd, n, 0.8, 0.95)
    draws = np.random.default_rng(n).normal(truth, sd, (runs, n))
    intervals = [stats.paired(list(d), 0.95) for d in draws]
    covered = sum(i.low <= truth <= i.high for i in intervals)
    found = sum(i.low > 0 or i.high < 0 for i in intervals)
    for hits, share in ((covered, 0.95), (found, 0.8)):
        low, high = scipy_stats.binom.interval(0.9999, runs, share)
        assert low <= hits <= high
