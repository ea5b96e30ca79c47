"""What differences can decide: against SciPy and by hand, and on simulated studies."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from steps.study import stats
from steps.study.claims import decide
from steps.study.contrasts import holm

DESIGN = {"drawn": 4, "photos": 4, "other": 4}
"""Units of the reference study: three bases of four seeds."""


def found(*values, base="b"):
    return decide.estimate({base: values})


def test_of_one_base_it_is_the_paired_t_test():
    values = [1.0, 2.5, -0.5, 3.0, 0.7, 1.1, 2.2]
    one, told = found(*values), ttest_1samp(values, 0)
    assert one.differs() == pytest.approx(told.pvalue)
    interval = told.confidence_interval(0.95)
    assert one.interval(0.95) == pytest.approx((interval.low, interval.high))
    above = ttest_1samp(values, 0.4, alternative="greater").pvalue
    assert one.above(0.4) == pytest.approx(above)
    below = ttest_1samp(values, 2.0, alternative="less").pvalue
    assert one.negligible(2.0) == pytest.approx(
        max(below, ttest_1samp(values, -2.0, alternative="greater").pvalue)
    )


def test_bases_are_strata_of_equal_weight():
    one = decide.estimate({"a": [1.0, 3.0], "b": [10.0, 12.0, 14.0]})
    assert one.mean == pytest.approx((2 + 12) / 2) and (one.n, one.freedom) == (5, 3)
    sd = ((2 * 1.0 + 2 * 4.0) / 3) ** 0.5
    assert one.error == pytest.approx(sd * (1 / 2 + 1 / 3) ** 0.5 / 2)


def test_what_is_too_few_has_no_interval_and_decides_nothing():
    one = found(4.0)
    assert one.interval(0.95) is None and one.differs() == one.negligible(1.0) == 1.0
    assert decide.estimate({"a": []}) is None
    five = found(*[5.0, 5.1, 4.9, 5.05, 4.95])
    told = decide.verdict(five, 1, five.differs(), five.negligible(1.0))
    assert told.word == "inconclusive" and told.why == "5 of at least 6 units; leans as published"


def test_signs_are_flipped_exactly():
    assert decide.flipped({"a": [1.0] * 5}) is None
    assert decide.flipped({"a": [1.0] * 8}) == pytest.approx(2 / 2**8)
    assert decide.flipped({"a": [1.0, 2.0, 3.0], "b": [1.0, 1.0, 1.0]}) == pytest.approx(2 / 2**6)
    assert decide.flipped({"a": [1.0, -1.0] * 3}) == 1.0


def test_units_that_would_be_enough_have_the_power_that_is_wanted():
    rng = np.random.default_rng(0)
    one = found(*rng.normal(0, 1, 8))
    n = decide.enough(one, 1.0, bases=1)
    sd = one.error * 8**0.5
    assert stats.power(1.0, sd, n, 0.95) >= 0.85 > stats.power(1.0, sd, n - 1, 0.95)
    assert decide.enough(one, 0.001, bases=1) is None


SURE: dict[str, list[str]] = {}


@pytest.mark.parametrize(
    ("mean", "sign", "options", "word"),
    [
        (3.0, 1, SURE, "replicated"),
        (-3.0, 1, SURE, "contradicted"),
        (-3.0, 1, {"unseen": ["sighted"]}, "inconclusive"),
        (3.0, 1, {"explained": ["format"]}, "explained"),
        (-3.0, -1, {"unseen": ["sighted"]}, "replicated"),
        (0.05, 1, SURE, "equivalent"),
        (0.05, 1, {"unseen": ["sighted"]}, "inconclusive"),
        (0.05, 0, SURE, "replicated"),
        (0.05, 0, {"explained": ["untrained"]}, "explained"),
        (0.05, 1, {"explained": ["format"]}, "equivalent"),
        (3.0, 0, SURE, "contradicted"),
        (0.9, 1, SURE, "inconclusive"),
    ],
)
def test_each_verdict_has_its_case(mean, sign, options, word):
    spread = 0.3 if mean != 0.9 else 3.0
    one = found(*(mean + spread * np.array([-1.5, -1, -0.5, 0.5, 1, 1.5])))
    told = decide.verdict(one, sign, one.differs(), one.negligible(1.0), **options)
    assert told.word == word and told.word in decide.VERDICTS and told.why


def test_a_control_explains_what_it_has_itself_and_leaves_nothing_of():
    noise = 0.2 * np.array([-1, 1, -0.5, 0.5, -0.2, 0.2])
    effect, same, half = 3.0 + noise, 3.0 - noise, 1.5 + noise[::-1]
    assert decide.explains(found(*same), found(*(effect - same)), 1, 1.0)
    assert decide.explains(found(*-same), found(*(same - effect)), -1, 1.0)
    assert decide.explains(found(*(2 * same)), found(*(effect - 2 * same)), 1, 1.0)  # more than all
    assert not decide.explains(found(*half), found(*(effect - half)), 1, 1.0)  # a part of it
    assert not decide.explains(
        found(*noise), found(*(effect - noise)), 1, 1.0
    )  # nothing to explain by
    assert not decide.explains(found(*-same), found(*(effect + same)), 1, 1.0)  # against it
    assert decide.explains(found(*noise), found(*noise), 0, 1.0)  # no effect, there as well
    assert not decide.explains(found(*same), found(*noise), 0, 1.0)


def verdicts(rng, truths, sd, interest, studies):
    """Words of `studies` simulated papers of primary claims, whose true effects are `truths`."""
    words = []
    for _ in range(studies):
        ones = [
            decide.estimate({b: rng.normal(mean, sd, n) for b, n in DESIGN.items()})
            for mean in truths
        ]
        differs = holm([one.differs() for one in ones])
        negligible = holm([one.negligible(interest) for one in ones])
        words.append(
            [
                decide.verdict(one, 1, p, q).word
                for one, p, q in zip(ones, differs, negligible, strict=True)
            ]
        )
    return np.array(words)


def interest():
    """The smallest effect that the design is for, in standard deviations; see `decide.enough`."""
    from scipy.optimize import brentq

    n, freedom = sum(DESIGN.values()), sum(DESIGN.values()) - len(DESIGN)
    wanted = decide.WANTED + decide.ALPHA

    def short(d):
        return stats.power(d, 1.0, n, 1 - decide.ALPHA / 5, freedom) - wanted

    return brentq(short, 0.01, 10)


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_false_verdicts_of_five_primary_claims_are_no_more_than_nominal(truth):
    """Over a paper: any verdict of a difference where there is none, or of none at the bound."""
    size = interest()
    words = verdicts(np.random.default_rng(1), [truth * size] * 5, 1.0, size, 400)
    wrong = ("replicated", "contradicted") if truth == 0 else ("equivalent", "contradicted")
    share = np.isin(words, wrong).any(1).mean()
    assert share <= decide.ALPHA + 3 * (decide.ALPHA * 0.95 / 400) ** 0.5


def test_the_smallest_effect_of_interest_is_found_four_times_in_five():
    size = interest()
    words = verdicts(np.random.default_rng(2), [size, 0, 0, 0, 0], 1.0, size, 600)
    assert (words[:, 0] == "replicated").mean() >= decide.WANTED
