"""A turn of the whole space is no turn of a feature: cosines behind an orthogonal map.

Where tuning turns all activations alike, every feature turns with them. The orthogonal Procrustes
problem finds that turn on activations of the same tokens: Q = argmin ||(X - mean) Q - (Y - mean)||,
Q' Q = 1, solved by the singular vectors of (X - mean)'(Y - mean) (Schoenemann 1966). Beside
cos(d, d') then stands cos(Q d, d'). Where a few features make up most of the
variance, Q may undo their own turns too: what is beyond the null behind Q is a lower bound.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

ENOUGH = 2  # tokens fitted on, at least, as a multiple of the width


def shared(one: pd.DataFrame, other: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two cells' indexes that are the same token of the same sample, in one order.

    With one kind of input those are all rows. Else the words of question and answer that stand as
    far from their sample's end in both; what stands before them differs, so places from the start
    do. (Pairs with different tokens are left out.)
    """
    if len(one) == len(other) and one[["sample", "position"]].equals(other[["sample", "position"]]):
        return np.arange(len(one)), np.arange(len(one))
    tables = []
    for index in (one, other):
        last = index.groupby("sample")["position"].transform("max")
        table = pd.DataFrame({"sample": index["sample"], "end": last - index["position"]})
        table["token"], table["row"] = index["token"], np.arange(len(index))
        tables.append(table[index["type"].isin(["question", "answer"]).to_numpy()])
    both = tables[0].merge(tables[1], on=["sample", "end", "token"])
    return both["row_x"].to_numpy(), both["row_y"].to_numpy()


def orthogonal(x: Tensor, y: Tensor, fit: np.ndarray) -> tuple[Tensor, dict[str, float]] | None:
    """The orthogonal Q [d, d] that brings x [n, d] closest to y, from the rows marked in fit [n].

    On the other rows: `explained`, the share of y's variance that the best multiple of x Q
    explains, and `plain`, that of x itself. None with too few rows for so wide an x.
    """
    mask = torch.as_tensor(fit)
    if mask.sum() < ENOUGH * x.shape[1] or mask.all():
        return None
    x, y = (part.double() - part[mask].double().mean(0) for part in (x, y))
    u, _, v = torch.linalg.svd(x[mask].T @ y[mask])
    turn = u @ v
    shares = {}
    for name, z in (("explained", x @ turn), ("plain", x)):
        scale = (z[mask] * y[mask]).sum() / z[mask].square().sum()
        left = (y - scale * z)[~mask].square().sum()
        shares[name] = float(1 - left / y[~mask].square().sum())
    return turn, shares
