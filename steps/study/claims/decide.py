"""What paired differences can decide: an estimate, its two tests, and the verdict of a claim.

The unit is a seed of a base: all arms of it share training items and evaluation draw, so that the
differences between two arms are independent from unit to unit. Bases are strata, each of equal
weight, whose units share one variance.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steps.study import stats

FEWEST = 6
"""Units below which nothing is decided: five signs alike happen by chance once in sixteen."""
ALPHA = 0.05
"""Share of false verdicts of one kind, over a paper's primary claims together."""
WANTED = 0.8
"""Share of studies in which an effect of just the size of interest is to be found."""
EXACT = 20
"""Most units whose signs are all tried."""
SILENT = "nothing is denied"
"""Why a claim is open that more units would not decide."""
MOST = 1000
"""Units above which a claim is said to be out of reach."""


@dataclass(frozen=True)
class Estimate:
    """Mean of n paired differences, standard error (None for too few), degrees of freedom."""

    mean: float
    error: float | None
    freedom: float
    n: int

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Student's t interval for the mean; None for too few units."""
        if self.error is None:
            return None
        half = stats.limit(confidence, self.freedom) * self.error
        return self.mean - half, self.mean + half

    def above(self, bound: float) -> float:
        """One-sided p that the true mean is at most `bound`; 1 for too few units."""
        if self.error is None:
            return 1.0
        gap = self.mean - bound
        if self.error == 0:
            return float(gap <= 0)
        return stats.beyond(gap / self.error, self.freedom)

    def differs(self) -> float:
        """Two-sided p that the true mean is 0."""
        return min(1.0, 2 * min(self.above(0), self.mirrored().above(0)))

    def negligible(self, size: float) -> float:
        """P that the true mean is at least `size` off 0: two one-sided tests (Schuirmann 1987)."""
        return max(self.above(-size), self.mirrored().above(-size))

    def clear(self, sign: int) -> bool:
        """Whether its interval at 1 - ALPHA lies beyond 0 on the side of a sign (0: on any)."""
        low, high = self.interval(1 - ALPHA) or (0.0, 0.0)
        return (sign >= 0 and low > 0) or (sign <= 0 and high < 0)

    def mirrored(self) -> "Estimate":
        """The same of the differences' negatives."""
        return Estimate(-self.mean, self.error, self.freedom, self.n)


def estimate(units: Mapping[str, Sequence[float]]) -> Estimate | None:
    """From each base's paired differences; None where there are none.

    mean = mean over bases of their means; error^2 = s^2 sum(1 / n_b) / B^2, with s pooled within
    bases, on sum(n_b - 1) degrees of freedom. Of one base it is the paired t test.
    """
    groups = [list(group) for group in units.values() if len(group)]
    if not groups:
        return None
    n, freedom = sum(map(len, groups)), sum(len(group) - 1 for group in groups)
    mean = math.fsum(math.fsum(group) / len(group) for group in groups) / len(groups)
    sd = stats.pooled(groups)
    if sd is None:
        return Estimate(mean, None, 0, n)
    error = sd * math.sqrt(math.fsum(1 / len(group) for group in groups)) / len(groups)
    return Estimate(mean, error, freedom, n)


def flipped(units: Mapping[str, Sequence[float]]) -> float | None:
    """Exact two-sided p of the mean when each unit's sign is as likely as its opposite.

    None below FEWEST units, where it can decide nothing, and above EXACT.
    """
    import numpy as np

    groups = [np.asarray(group, dtype=float) for group in units.values() if len(group)]
    n = sum(map(len, groups))
    if not FEWEST <= n <= EXACT:
        return None
    weighted = np.concatenate([group / len(group) for group in groups]) / len(groups)
    codes = np.arange(2**n)[:, None] >> np.arange(n)
    sums = np.abs((1 - 2 * (codes & 1)) @ weighted)
    return float((sums >= abs(weighted.sum()) * (1 - 1e-9)).mean())


def apart(units: Mapping[str, Sequence[float]]) -> float | None:
    """P that bases have one mean, by one-way analysis of variance (Fisher 1925).

    None for less than two bases of two units, or where no unit differs from its base's mean.
    """
    from scipy.stats import f_oneway

    groups = [group for group in units.values() if len(group) > 1]
    if len(groups) < 2 or not stats.pooled(groups):
        return None
    return float(f_oneway(*groups).pvalue)


def enough(found: Estimate, interest: float, bases: int, adjusted: float = ALPHA) -> int | None:
    """Units, as many a base, that would find a true `interest` in a share WANTED of studies.

    From the spread that was found; None where that is unknown, or above MOST. The t test needs
    ALPHA more power than that: as often an effect of just this size is called negligible.
    """
    if found.error is None:
        return None
    sd = found.error * math.sqrt(found.n)
    designs = range(max(FEWEST, 2 * bases), MOST + 1, bases)
    at = bisect_left(
        designs, WANTED + ALPHA, key=lambda n: stats.power(interest, sd, n, 1 - adjusted, n - bases)
    )
    return designs[at] if at < len(designs) else None


@dataclass(frozen=True)
class Verdict:
    """One word of VERDICTS, why, and for an undecided claim which way it leans."""

    word: str
    why: str


VERDICTS = {
    "replicated": "the effect is there, with the published sign",
    "contradicted": "there is an effect of the opposite sign, or one where none was claimed",
    "equivalent": "whatever effect there is, it is smaller than would matter",
    "explained": "it is there, and a control that lacks the claimed cause has it too",
    "inconclusive": "the units at hand do not tell",
    "not testable": "this study lacks what the claim needs",
}


def verdict(
    found: Estimate,
    sign: int,
    p: float,
    negligible: float,
    unseen: Sequence[str] = (),
    explained: Sequence[str] = (),
) -> Verdict:
    """The verdict of a claim that expects `sign` (+1, -1, or 0 for no difference).

    p, negligible: of `differs` and of `negligible` at the claim's smallest effect of interest,
    adjusted for how many claims are decided together. unseen: names of effects that are known to be
    there and were not seen; where there are any, no effect is no news. explained: names of the
    controls that explain the effect (`explains`).
    """
    if found.n < FEWEST:
        return Verdict(
            "inconclusive", f"{found.n} of at least {FEWEST} units; {_lean(found, sign)}"
        )
    if negligible < ALPHA:
        if unseen:
            return _silent(unseen)
        if explained and not sign:
            return Verdict("explained", f"by {', '.join(explained)}")
        word = "equivalent" if sign else "replicated"
        return Verdict(word, "smaller than the smallest effect of interest")
    if p >= ALPHA:
        return Verdict("inconclusive", _lean(found, sign))
    if sign and found.mean * sign > 0:
        if explained:
            return Verdict("explained", f"by {', '.join(explained)}")
        return Verdict("replicated", "the published sign")
    if unseen:
        return _silent(unseen)
    return Verdict("contradicted", "the opposite sign" if sign else "there is a difference")


def _silent(unseen: Sequence[str]) -> Verdict:
    return Verdict("inconclusive", f"{SILENT}: not seen was {', '.join(unseen)}")


def _lean(found: Estimate, sign: int) -> str:
    if found.mean == 0:
        return "leans nowhere"
    if not sign:
        return f"leans {'up' if found.mean > 0 else 'down'}"
    return "leans as published" if found.mean * sign > 0 else "leans against it"


def explains(control: Estimate, rest: Estimate, sign: int, interest: float) -> bool:
    """Whether a control explains an effect of a sign (+1, -1, or 0 for none).

    Of a claim of no effect: it has none of the size of interest either. Else it has one of that
    sign itself, whose interval excludes 0, and that of the effect minus the
    control's does not lie beyond 0. Intervals at 1 - ALPHA. A control that has more of it than the
    effect explains it too.
    """
    if not sign:
        return control.negligible(interest) < ALPHA
    return control.clear(sign) and rest.error is not None and not rest.clear(sign)
