"""What counts as turned: a feature's cosine after a change against those after none.

A *null* continues the same dictionary for as many steps on activations that did not change: what it
turns is drift. Three rules are kept beside each other, because they fail in different ways (stage
`planted` measures how often, on activations whose truth is known):

    quantile   below the 1 % quantile of the null's cosines, among settled features
    matched    the same among the null's features that fire alike
    paired     at least 10 degrees further than the feature's own null, and further than all but 1 %
               fell short of theirs

The first two ask whether a feature moved at all. They are as good as the null is wide: where nearly
all of it is narrow, any small change of the whole space is beyond it. The third asks for an effect
besides; its 10 degrees are a convention.

All three are asked of *settled* features: alive in parent, child and null, and carried less than 37
degrees by the null. The few latents that never found a direction drift by 40 to 80 degrees on
unchanged data, and alone would make the quantiles.
"""

import numpy as np
import pandas as pd

NULL = 0.01  # quantile of the null below which a latent turned; the share expected by drift
SETTLED = 0.8  # cosine to the null from which a latent has a direction that can be compared
PAIRED = 10.0  # degrees beyond a latent's own null, at least, in the paired rule
FEWEST = 20  # settled features below which a quantile of theirs is no number


def degrees(cosine: np.ndarray) -> np.ndarray:
    """The angle of a cosine, 0 to 180 degrees."""
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def turned(
    cosine: np.ndarray,
    null: np.ndarray,
    rate: np.ndarray,
    alive: np.ndarray,
    level: float = NULL,
) -> pd.DataFrame:
    """Which features [f] turned, by each rule; one row a feature.

    cosine: to the child; null: to the null; rate: firing in the parent; alive: in all three.
    Columns: settled; quantile, its share of the matched null (NaN where unsettled); excess, degrees
    beyond its own null; beyond, matched and paired, the rules' verdicts at `level`. With fewer than
    FEWEST settled features nothing is beyond, and quantiles are NaN.
    """
    cosine, null, alive = (np.asarray(part) for part in (cosine, null, alive))
    settled = alive & (null >= SETTLED)
    frame = pd.DataFrame({"settled": settled, "quantile": np.nan})
    frame["excess"] = degrees(cosine) - degrees(null)
    for rule in ("beyond", "matched", "paired"):
        frame[rule] = False
    if settled.sum() >= FEWEST:
        found = matched_quantiles(cosine[settled], null[settled], np.asarray(rate)[settled])
        frame.loc[settled, "quantile"] = found
        frame["beyond"] = settled & (cosine < np.quantile(null[settled], level))
        frame["matched"] = settled & (frame["quantile"] <= level)
        enough = max(PAIRED, -float(frame["excess"][settled].quantile(level)))
        frame["paired"] = settled & (frame["excess"] > enough)
    return frame


def matched_quantiles(
    turned: np.ndarray, null: np.ndarray, rate: np.ndarray, neighbours: int = 200
) -> np.ndarray:
    """For each latent, the share of the null at or below it, among latents that fire most alike.

    (1 + #{null <= turned}) / (1 + n) over the n = `neighbours` nearest in rate: small where a
    latent turned further than drift explains. Rare latents drift further (Adam's steps do not
    shrink with the gradient), frequent ones less.
    """
    order = np.argsort(rate, kind="stable")
    window = min(neighbours, len(order))
    found = np.empty(len(order))
    for rank, latent in enumerate(order):
        low = min(max(rank - window // 2, 0), len(order) - window)
        alike = null[order[low : low + window]]
        found[latent] = (1 + np.count_nonzero(alike <= turned[latent])) / (1 + window)
    return found


def held_out(null: np.ndarray, seed: int, level: float = NULL) -> float:
    """Share of null cosines below the quantile of the others: about `level` if that generalises.

    Cut in two at random; each half is judged by the quantile of the other.
    """
    halves = np.array_split(np.random.default_rng([seed, 13]).permutation(null), 2)
    below = sum((one < np.quantile(other, level)).sum() for one, other in (halves, halves[::-1]))
    return float(below / len(null))
