"""The cheap baselines that a dictionary has to beat: what the plain difference of activations says.

With delta(t) = h_tuned(t) - h_base(t) on the same tokens: its mean, the direction of the activation
difference lens (arXiv 2510.13900; there at the first few positions, here over all tokens and over
each type), and its principal components behind the mean. Both are fitted on the tokens that the
dictionaries were fitted on and judged on the held-out ones.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

COMPONENTS = 8


def directions(
    before: Tensor, after: Tensor, types: np.ndarray, names: Sequence[str], fit: np.ndarray
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Directions of after - before [n, d], and the share of its square that they explain.

    types [n]: numbers of `names`; fit [n]: rows to fit on, the others judge. Directions:
    `difference.mean` [1 + types that occur, d] (over all tokens first) and `difference.pca`
    [c, d] (unit rows, largest first). Shares: `mean/all` and `mean/<type>` of the mean squared
    difference; `pca/<c>` of that about the mean, for the first and for all components.
    """
    delta, mask = (after - before).double(), torch.as_tensor(fit)
    kinds = {"all": torch.ones_like(mask)}
    kinds |= {name: torch.as_tensor(types == i) for i, name in enumerate(names)}
    rows, shares = [], {}
    for name, some in kinds.items():
        if (some & mask).any() and (some & ~mask).any():
            rows.append(delta[some & mask].mean(0))
            shares[f"mean/{name}"] = _explained(delta[some & ~mask], rows[-1])
    centred = delta - rows[0]
    values = torch.linalg.eigh(centred[mask].T @ centred[mask])
    top = values.eigenvectors.flip(1).T[:COMPONENTS]
    held = centred[~mask]
    along = (held @ top.T).square().sum(0) / held.square().sum()
    shares |= {"pca/1": float(along[0]), f"pca/{len(top)}": float(along.sum())}
    found = {"difference.mean": torch.stack(rows), "difference.pca": top}
    return {name: part.float().contiguous() for name, part in found.items()}, shares


def _explained(delta: Tensor, mean: Tensor) -> float:
    return float(1 - (delta - mean).square().sum() / delta.square().sum())
