"""Visual energy: does a feature answer to the image, or to the scene told in words?

E(j) is the mean of z_j^2 over the words of question and answer; E_v where the image stood before
them, E_t where the scene was told. The ratio E_v / (E_v + E_t) is above one half for a feature that
prefers vision. (The code of 2602.08713 computes both and selects by E_v alone.) Words
of a sample depend on each other, so the bootstrap draws whole samples, the same for both inputs.
"""

import numpy as np

DRAWS = 1000
COVERAGE = 0.95
FEWEST = 10  # samples in which a feature fires, at least, for an interval
BLOCK = 2048  # features whose draws are held at once

Groups = tuple[np.ndarray, np.ndarray]
"""Energy of each sample [samples, f] and its number of words [samples], as in Activity.groups."""


def ratio(seen: np.ndarray, told: np.ndarray) -> np.ndarray:
    """E_v / (E_v + E_t) from mean energies of any shape; NaN where both are 0."""
    with np.errstate(invalid="ignore"):
        return seen / (seen + told)


def means(groups: Groups) -> np.ndarray:
    """Mean energy a word [f]; NaN without any word."""
    energy, words = groups
    with np.errstate(invalid="ignore"):
        return energy.sum(0, dtype=np.float64) / words.sum()


def intervals(seen: Groups, told: Groups, rng: np.random.Generator) -> np.ndarray:
    """Ends [2, f] of the percentile intervals of each feature's ratio, over samples.

    NaN for features that fire in fewer than FEWEST samples.
    """
    count = max(len(seen[1]), len(told[1]))
    (image, words), (text, told_words) = (_filled(groups, count) for groups in (seen, told))
    drawn = rng.multinomial(count, np.full(count, 1 / count), DRAWS).astype(np.float64)
    ends = np.full((2, image.shape[1]), np.nan)
    fires = ((image > 0) | (text > 0)).sum(0) >= FEWEST
    tails = [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]
    for some in np.array_split(np.flatnonzero(fires), max(1, -(-fires.sum() // BLOCK))):
        e_v = drawn @ image[:, some] / (drawn @ words)[:, None]
        e_t = drawn @ text[:, some] / (drawn @ told_words)[:, None]
        ends[:, some] = np.nanquantile(ratio(e_v, e_t), tails, axis=0)
    return ends


def _filled(groups: Groups, count: int) -> Groups:
    """Both parts with a row for each of `count` samples."""
    energy, words = groups
    missing = count - len(words)
    return np.pad(energy, ((0, missing), (0, 0))), np.pad(words, (0, missing))
