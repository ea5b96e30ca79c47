"""Few-shot classification out of the world's domain: handwritten digits, a few of each class.

Class-balanced draws, each a ridge classifier (`ridge.few`), as in big_vision's few-shot evaluator;
but there the penalty is read off the test set, here it is chosen by leave-one-out on the shots.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.encoder import ridge, scores
from steps.stage import StageError


def digits(
    features: Callable[[str], np.ndarray], probes: Path, params: Any, prefix: str
) -> tuple[dict[str, float], list[pd.DataFrame]]:
    """Few-shot classification of handwritten digits, clean and under the world's noise.

    features(name) gives the pooled features [N, D] of a probe set. params.classify: `digits_draws`
    class-balanced draws of `digits_per_class` from the pool, the same for every encoder of a seed.
    Returns mean and standard deviation of top-1 over the draws, and items (one row a draw and
    image). Raises StageError if the pool is too small.
    """
    each, draws = params.classify.digits_per_class, params.classify.digits_draws
    x, rows = scores.open_set(features, probes, "digits", ["label", "split", "noise"])
    names, codes = np.unique(rows.label.astype(str).to_numpy(), return_inverse=True)
    penalties = sorted(params.classify.penalties, reverse=True)  # of equals, the stronger wins
    metrics, tables = {}, []
    for kind, noisy in (("clean", False), ("noisy", True)):
        here = rows.noise.to_numpy(bool) == noisy
        pool = np.flatnonzero(here & (rows.split == "pool"))
        test = np.flatnonzero(here & (rows.split == "test"))
        fewest = np.bincount(codes[pool], minlength=len(names)).min()
        if not len(test) or fewest < each:
            raise StageError(
                f"classify.digits_per_class is {each}, but of some label there are {fewest} {kind} "
                f"digits to draw from and {len(test)} to test on: lower it"
            )
        rng = np.random.default_rng([params.run.seed or 0, 2])
        told = np.empty((draws, len(test)), int)
        for draw in range(draws):
            members = [pool[codes[pool] == c] for c in range(len(names))]
            shots = np.concatenate([rng.choice(m, each, replace=False) for m in members])
            y = ridge.signs(codes[shots], len(names))
            w, b, left_out = ridge.few(x[shots], y, penalties)
            best = (left_out.argmax(2) == codes[shots]).mean(1).argmax()
            told[draw] = (x[test] @ w[best] + b[best]).argmax(1)
        right = told == codes[test]
        key = f"{prefix}classify/digits/{kind}"
        metrics[f"{key}/top1"] = float(right.mean())
        metrics[f"{key}/top1_sd"] = float(right.mean(1).std())
        metrics[f"{key}/chance"] = 1 / len(names)
        tables.append(
            scores.table(
                params.run,
                f"{prefix}classify/digits_{kind}",
                np.tile(scores.ids(rows.iloc[test], "digits"), draws),
                names[told].ravel(),
                right.ravel(),
                truth=np.tile(names[codes[test]], draws),
                draw=np.repeat(np.arange(draws), len(test)),
            )
        )
    return metrics, tables
