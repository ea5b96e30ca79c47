"""Edits of the residual stream x by directions d_j of a dictionary (rows of W_dec) and codes z_j.

project:  x - u u' x     u = d_j / |d_j|: nothing is left along the direction, whoever put it there
                         (of a group: nothing in the span of its directions)
onward:   the same, and once more behind each later layer, so that nothing is written there again
subtract: x - z_j d_j    without what the feature itself contributes: its code is clamped to zero
add:      x + a t_j d_j  a: the dose; t_j: the feature's code where it fires, on average
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from steps.diff.acts.behind import Edit

FORMS = ("project", "onward", "subtract")
"""Ways to remove a feature."""


def removal(role: str, name: int, form: str, decoder: Tensor, features: Sequence[int]) -> Edit:
    """Removal of features (latents of decoder [f, d]) together, in one of FORMS.

    The edit's amount is how many they are.
    """
    rows = decoder[list(features)]
    if form == "subtract":
        change = partial(_subtract, list(features), rows)
    else:
        change = partial(_project, _basis(rows))
    return Edit(role, name, form, float(len(features)), change, form == "onward")


def direction(role: str, name: int, vector: Tensor, form: str) -> Edit:
    """Removal of a direction [d] that is no feature, by `project` or `onward`."""
    return removal(role, name, form, vector[None], [0])


def addition(role: str, name: int, dose: float, typical: float, vector: Tensor) -> Edit:
    """Dose times the typical code times the decoder row, added."""
    return Edit(role, name, "add", dose, partial(_add, dose * typical * vector))


def _basis(rows: Tensor) -> Tensor:
    """An orthonormal basis [d, r] of the span of rows [n, d]."""
    left, scale, _ = torch.linalg.svd(rows.T.double(), full_matrices=False)
    return left[:, scale > 1e-6 * scale[0]].to(rows.dtype)


def _project(basis: Tensor, x: Tensor, z: Tensor) -> Tensor:
    return x - (x @ basis) @ basis.T


def _subtract(features: list[int], rows: Tensor, x: Tensor, z: Tensor) -> Tensor:
    return x - z[..., features] @ rows


def _add(change: Tensor, x: Tensor, z: Tensor) -> Tensor:
    return x + change
