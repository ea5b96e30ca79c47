"""What became of each feature, in one word, and the same on the null.

    emerge     dead in the first dictionary, alive now, and not in the base's activations either
    vanish     alive in the parent, dead now
    dead       dead in the parent, and now
    unsettled  without a direction that can be compared: carried far by the null, dead in between,
               or alive only now although the base's activations had it all along
    reorient   turned beyond the null
    reuse      not turned, but its visual energy moved: by a tenth at least, and beyond the null's
               99 % quantile
    keep       none of these

That a latent comes alive is the dictionary's news, not the model's: `emerge` asks for latent
scaling besides. Whatever is alive in the null cannot have emerged in a model
that did not change, so there the class is empty by construction; `born` counts what came alive.
"""

import numpy as np
import pandas as pd

from steps.diff.turning.nulls import FEWEST, NULL

CLASSES = ("emerge", "vanish", "reorient", "reuse", "keep", "unsettled", "dead")
MOVED = 0.1  # of visual energy, at least, to count as moved; a convention


def classes(
    first: np.ndarray,
    was: np.ndarray,
    now: np.ndarray,
    absent: np.ndarray,
    settled: np.ndarray,
    turned: np.ndarray,
    moved: np.ndarray,
) -> pd.Categorical:
    """The class of each feature, from bool [f].

    first, was, now: alive in the first dictionary, in the parent and now; absent: from the base's
    activations; moved: its visual energy.
    """
    cases = [~first & now & absent, was & ~now, ~now, ~settled, turned, moved]
    names = ["emerge", "vanish", "dead", "unsettled", "reorient", "reuse"]
    return pd.Categorical(np.select(cases, names, "keep"), CLASSES)


def moved(
    before: np.ndarray, after: np.ndarray, null: np.ndarray, settled: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whose visual energy moved far, and further than all but 1 % of the null's; and of the null.

    Ratios [f] in three dictionaries; NaN never moved. Nothing did with too few settled features.
    """
    shift, drift = np.abs(after - before), np.abs(null - before)
    known = drift[settled & ~np.isnan(drift)]
    if len(known) < FEWEST:
        return np.zeros_like(settled), np.zeros_like(settled)
    limit = max(MOVED, float(np.quantile(known, 1 - NULL)))
    return shift > limit, drift > limit
