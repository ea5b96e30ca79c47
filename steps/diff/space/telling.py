"""Do features that speak of a relation in stories speak of it in images too?

The two AUROCs have to be of different scenes: on the same ones a feature that reads words would err
alike in both, which correlates what has nothing in common.
"""

import numpy as np
from scipy.stats import rankdata

from steps.diff.space.auroc import auroc


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's correlation over features of two AUROCs [kinds, f], a mean over kinds.

    Kinds in which nothing varies do not count; 0 where there is no other.
    """
    parts = [rankdata(part, axis=1) for part in (one, other)]
    one, other = (part - part.mean(1, keepdims=True) for part in parts)
    size = np.sqrt(np.square(one).sum(1) * np.square(other).sum(1))
    each = (one * other).sum(1)[size > 0] / size[size > 0]
    return float(each.mean()) if len(each) else 0.0


def shared(
    image: np.ndarray,
    ranked: np.ndarray,
    labels: np.ndarray,
    draws: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """How far image's AUROCs [kinds, f] agree with those of told scenes, and two p's, one-sided.

    ranked [n, f] and labels [kinds, n] are of the told scenes (`auroc`). p: relations dealt out
    anew among these, which keeps that features which fire together err together. pairing_p: each
    feature's image with another one's text, which does not, and so may be too small.
    """
    text = auroc(ranked, labels)
    found, n, f = correlation(image, text), labels.shape[1], image.shape[1]
    dealt = [correlation(image, auroc(ranked, labels[:, rng.permutation(n)])) for _ in range(draws)]
    paired = [correlation(image, text[:, rng.permutation(f)]) for _ in range(draws)]
    p, pairing = ((1 + np.sum(np.array(null) >= found)) / (1 + draws) for null in (dealt, paired))
    return {"correlation": found, "p": float(p), "pairing_p": float(pairing)}
