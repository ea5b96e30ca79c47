import numpy as np

from steps.diff.turning import energy


def groups(mean, samples=200, words=5, seed=0, noise=1.0):
    """Energies of samples whose mean a word is `mean` [f], and their numbers of words."""
    rng = np.random.default_rng(seed)
    each = np.asarray(mean) * words * np.exp(rng.normal(0, noise, (samples, len(mean))))
    each /= np.exp(noise**2 / 2)
    return each.astype(np.float32), np.full(samples, words)


def test_a_planted_share_is_inside_its_interval():
    share = np.array([0.9, 0.5, 0.2, 0.75])
    seen, told = groups(share, seed=0), groups(1 - share, seed=1, words=3)
    found = energy.ratio(energy.means(seen), energy.means(told))
    np.testing.assert_allclose(found, share, atol=0.06)
    low, high = energy.intervals(seen, told, np.random.default_rng(0))
    assert ((low < share) & (share < high)).all() and ((low < found) & (found < high)).all()
    assert list(low > 0.5) == [True, False, False, True]
    assert list(high < 0.5) == [False, False, True, False]


def test_intervals_cover_as_often_as_they_say_and_do_not_see_tokens():
    """Words of a sample say the same thing twice: twice as many narrow nothing."""
    covered, widths = [], {5: [], 10: []}
    for seed in range(40):
        share = np.full(5, 0.6)
        for words in widths:
            parts = [groups(m, 60, words, 2 * seed + i) for i, m in enumerate((share, 1 - share))]
            low, high = energy.intervals(*parts, np.random.default_rng(seed))
            widths[words].append((high - low).mean())
            covered += list((low < 0.6) & (0.6 < high))
    assert 0.88 < np.mean(covered) < 0.99
    np.testing.assert_allclose(widths[5], widths[10], rtol=1e-5)


def test_rare_features_have_no_interval():
    seen, told = groups([1.0, 1.0]), groups([1.0, 1.0], seed=1)
    for part in (seen, told):
        part[0][energy.FEWEST - 1 :, 0] = 0
        part[0][:, 1][energy.FEWEST :] = 0
    low, high = energy.intervals(seen, told, np.random.default_rng(0))
    assert np.isnan(low[0]) and np.isnan(high[0]) and low[1] < 0.5 < high[1]
    assert np.isnan(energy.ratio(np.zeros(1), np.zeros(1)))[0]


def test_samples_that_one_input_lacks_do_not_shift_the_others():
    seen, told = groups([1.0] * 4), groups([1.0] * 4, samples=150, seed=1)
    low, high = energy.intervals(seen, told, np.random.default_rng(0))
    assert ((low < 0.5) & (high > 0.5)).all()
