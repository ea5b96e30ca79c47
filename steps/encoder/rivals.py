"""Classification probes beside ridge, each under its own protocol, on the same split.

All three are DINO's: `logistic`, its L-BFGS sweep of C; `fused`, its linear heads of 13 rates at
once; `knn`, its weighted neighbours. What each has to choose is chosen on the same share of train.
Of DINO's 45 values of C every fourth is tried, to a slope of 1e-5: the whole sweep takes eight
times as long and chose no better on the drawn world.
"""

from typing import Any

import numpy as np

from steps.encoder import fused, knn, logistic


def told(
    kind: str,
    x: np.ndarray,
    codes: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    section: Any,
    seed: int,
) -> tuple[np.ndarray, float]:
    """Codes [M] that a probe of a kind gives the images `test`, and what it chose (C, rate or k).

    x: features [N, D] of all images, codes: int [N]; section: params.classify (select_share).
    """
    mine, own, classes = x[train], codes[train], int(codes.max()) + 1
    share = section.select_share
    if kind == "knn":
        k = knn.choose(mine, own, classes, share=share, seed=seed)
        return knn.predict(mine, own, x[test], classes, [k])[k], k
    if kind == "logistic":
        grid, slope = logistic.GRID[::4], 1e-5
        w, chosen = logistic.path(mine, own, classes, grid, share, seed, slope)
    else:
        w, chosen = fused.path(mine, own, classes, share=share, seed=seed)
    return (x[test] @ w[:-1] + w[-1]).argmax(1), chosen
