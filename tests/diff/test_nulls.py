import numpy as np

from steps.diff.turning import nulls


def drift(count, rng, spread=3.0):
    return np.cos(np.radians(rng.exponential(spread, count)))


def test_nothing_changed_nothing_turned():
    null = drift(400, np.random.default_rng(0))
    found = nulls.turned(np.ones(400), null, np.full(400, 0.1), np.ones(400, bool))
    assert found["settled"].all()
    assert not found[["beyond", "matched", "paired"]].any(axis=None)
    assert (found["excess"] <= 0).all()


def test_turns_are_found_and_drift_is_not():
    rng = np.random.default_rng(1)
    null, cosine = drift(400, rng), drift(400, rng)
    alive = np.ones(400, bool)
    alive[0] = False
    cosine[:5] = np.cos(np.radians(50))
    null[1] = np.cos(np.radians(60))  # never had a direction
    found = nulls.turned(cosine, null, rng.random(400), alive)
    for rule in ("beyond", "matched", "paired"):
        assert not found[rule][:2].any() and found[rule][2:5].all()
        assert found[rule][5:].mean() < 0.03
    assert list(found["settled"][:3]) == [False, False, True]
    assert found["quantile"][:2].isna().all() and found["quantile"][2] < 0.01
    assert abs(found["excess"][2] - (50 - np.degrees(np.arccos(null[2])))) < 1e-6


def test_a_small_change_of_everything_is_beyond_a_narrow_null_but_not_a_turn():
    """What the 10 degrees are for."""
    rng = np.random.default_rng(2)
    null = drift(400, rng, 0.3)
    cosine = np.cos(np.radians(6 + rng.random(400)))
    found = nulls.turned(cosine, null, rng.random(400), np.ones(400, bool))
    assert found["beyond"].mean() > 0.9 and found["matched"].mean() > 0.9
    assert not found["paired"].any()


def test_few_features_give_no_verdict():
    few = nulls.FEWEST - 1
    found = nulls.turned(np.full(few, 0.1), np.ones(few), np.ones(few), np.ones(few, bool))
    assert found["settled"].all() and found["quantile"].isna().all()
    assert not found[["beyond", "matched", "paired"]].any(axis=None)


def test_matched_quantiles_compare_with_what_fires_alike():
    rng = np.random.default_rng(0)
    rate = np.r_[rng.uniform(0.001, 0.002, 200), rng.uniform(0.1, 0.2, 200)]
    null = np.where(rate < 0.01, rng.uniform(0.6, 1, 400), rng.uniform(0.98, 1, 400))
    turned = null.copy()
    turned[[0, 399]] = 0.9  # nothing special for a rare latent, far out for a frequent one
    found = nulls.matched_quantiles(turned, null, rate, 100)
    assert found[399] <= 0.01 and found[0] > 0.5
    assert (null <= 0.9).mean() > 0.05  # pooled, the rare ones hide it
    rest = np.delete(found, [0, 399])
    assert abs(np.mean(rest <= 0.1) - 0.1) < 0.05  # and it is a p-value elsewhere


def test_the_null_judged_by_its_other_half():
    rng = np.random.default_rng(3)
    shares = [nulls.held_out(drift(4000, rng), seed) for seed in range(20)]
    assert 0.007 < np.mean(shares) < 0.013 and len(set(shares)) > 5
    assert nulls.held_out(np.ones(100), 0) == 0
