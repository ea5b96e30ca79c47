"""What the seeds can tell: paired intervals, and the smallest difference that they would find.

The unit is the seed. Within a seed all arms share training items and evaluation draw, so the
difference between two arms on one seed is free of what they share; across seeds these differences
are independent.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Interval:
    """Mean of n paired differences and its t interval; the bounds are None for one seed."""

    mean: float
    low: float | None
    high: float | None
    n: int


def limit(confidence: float, freedom: float) -> float:
    """What Student's t exceeds, with either sign, in 1 - confidence of draws."""
    from scipy.special import stdtrit  # what scipy.stats comes to, in a hundredth of its time

    return float(stdtrit(freedom, (1 + confidence) / 2))


def beyond(value: float, freedom: float) -> float:
    """The probability that Student's t is larger."""
    from scipy.special import stdtr

    return float(stdtr(freedom, -value))


def paired(differences: Sequence[float], confidence: float) -> Interval | None:
    """Student's t interval for the mean of paired differences; None where there are none.

    mean +- t[(1 + confidence) / 2; n - 1] s / sqrt(n)      (Student 1908)
    """
    n = len(differences)
    if n == 0:
        return None
    mean = math.fsum(differences) / n
    if n == 1:
        return Interval(mean, None, None, 1)
    half = limit(confidence, n - 1) * deviation(differences) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def plain(differences: Sequence[float], confidence: float) -> dict[str, Any]:
    """`paired` as plain values: mean, low, high, n; no mean and n = 0 where there are none."""
    interval = paired(differences, confidence)
    return asdict(interval) if interval else {"mean": None, "low": None, "high": None, "n": 0}


def p_value(differences: Sequence[float]) -> float:
    """Two-sided p of the paired t test that the mean difference is 0; 1 for fewer than two."""
    if len(differences) < 2:
        return 1.0
    sd = deviation(differences)
    if sd == 0:
        return float(not any(differences))
    mean = math.fsum(differences) / len(differences)
    return 2 * beyond(abs(mean) / sd * math.sqrt(len(differences)), len(differences) - 1)


def deviation(values: Sequence[float]) -> float:
    """Standard deviation with n - 1 in the denominator. Raises ValueError for fewer than two."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} value has no standard deviation: give at least two")
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def pooled(groups: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation within groups, each weighted by its degrees of freedom (n - 1).

    None where no group has two values.
    """
    some = [g for g in groups if len(g) > 1]
    if not some:
        return None
    freedom = sum(len(g) - 1 for g in some)
    return math.sqrt(math.fsum((len(g) - 1) * deviation(g) ** 2 for g in some) / freedom)


def power(
    difference: float, sd: float, n: int, confidence: float, freedom: int | None = None
) -> float:
    """Probability that the two-sided one-sample t test on n differences finds a true `difference`.

    The test statistic follows the noncentral t distribution with `freedom` (n - 1) degrees of
    freedom and noncentrality difference sqrt(n) / sd (Johnson & Welch 1940); found means beyond
    t[(1 + confidence) / 2; freedom] on either side. With strata freedom is n less their number.
    """
    from scipy.stats import nct

    if sd == 0:
        return 1.0 if difference else 1 - confidence
    freedom = n - 1 if freedom is None else freedom
    bound = limit(confidence, freedom)
    shift = difference * math.sqrt(n) / sd
    # the far side needs a normal draw below -shift: under 1e-9 here, where SciPy may give NaN
    far = nct.cdf(-bound, freedom, shift) if shift < 6 else 0.0
    return float(nct.sf(bound, freedom, shift) + far)


def smallest(sd: float, n: int, wanted: float, confidence: float) -> float | None:
    """Smallest true difference that n seeds find with power `wanted`: Bloom's (1995, Evaluation
    Review 19:547) minimum detectable effect, with the noncentral t in place of his sum of two
    quantiles. In the unit of `sd`; None for fewer than two seeds.
    """
    if n < 2:
        return None
    return sd * _of_one(n, wanted, confidence)


@cache
def _of_one(n: int, wanted: float, confidence: float) -> float:
    """`smallest` for a standard deviation of 1: everything scales with it."""
    from scipy.optimize import brentq

    high = 1.0
    while power(high, 1.0, n, confidence) < wanted:
        high *= 2
    return float(brentq(lambda d: power(d, 1.0, n, confidence) - wanted, 0.0, high))
