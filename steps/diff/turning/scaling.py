"""Latent scaling: how strongly a feature of the tuned model is in the base's activations.

For a feature's codes f_j(t) and direction d_j in the tuned model, and a vector y(t) of the same
tokens in either model (Minder et al. 2025, arXiv 2504.02922, section 2.3):

    beta_j = argmin_b sum_t ||y(t) - b f_j(t) d_j||^2 = d_j . sum_t f_j y / (||d_j||^2 sum_t f_j^2)

y is the model's reconstruction error with the latent's own share put back, or its reconstruction;
nu = beta(base) / beta(tuned) for each. Near 0 in both: the base has no such feature. High nu_error:
the base has it, at the strength nu, whatever the dictionary makes of it. High nu_reconstruction
with low nu_error: the base writes it with other latents.

The paper has one crosscoder for both models; here the base has its own dictionary, of which latent
j is the ancestor or cousin of the feature, so its own share is put back along its own row. The
decoders' biases are left out of reconstructions: codes are positive, so that a constant would count
as presence.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.diff.turning.measures import chunks

ERROR, RECONSTRUCTION = 0.2, 0.5
"""nu_error and nu_reconstruction below which the paper calls a feature specific to the tuned."""


@torch.inference_mode()
def ratios(tuned: Any, base: Any, after: Tensor, before: Tensor) -> dict[str, np.ndarray]:
    """nu_error and nu_reconstruction [f] of `tuned`'s features; NaN where beta(tuned) <= 0.

    tuned, base: dictionaries with latents aligned by number. after, before [n, d]: the same tokens
    in the tuned model and in the base.
    """
    rows, own = tuned.weights["W_dec"], base.weights["W_dec"]
    width = len(rows)
    sums = {name: torch.zeros_like(rows) for name in ("after", "before", "error", "base_error")}
    energy, together = rows.new_zeros(width), rows.new_zeros(width)
    for some in chunks(len(after), width):
        h, g = after[some].to(rows.device), before[some].to(rows.device)
        f, z = tuned.codes(h), base.codes(g)
        for x, codes, dictionary, error, written in (
            (h, f, tuned, "error", "after"),
            (g, z, base, "base_error", "before"),
        ):
            again = dictionary.decode(codes)
            sums[error] += f.T @ (x - again)
            sums[written] += f.T @ (again - dictionary.weights["b_dec"])
        energy += f.square().sum(0)
        together += (f * z).sum(0)
    along = {name: (rows * total).sum(1).double().cpu().numpy() for name, total in sums.items()}
    own_share = (rows.square().sum(1) * energy).double().cpu().numpy()
    base_share = ((rows * own).sum(1) * together).double().cpu().numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        top = {"nu_error": along["base_error"] + base_share, "nu_reconstruction": along["before"]}
        bottom = {"nu_error": along["error"] + own_share, "nu_reconstruction": along["after"]}
        return {n: np.where(bottom[n] > 0, top[n] / bottom[n], np.nan) for n in top}


def specific(found: dict[str, np.ndarray]) -> np.ndarray:
    """Which features the base lacks, bool [f]: both ratios below the paper's bounds."""
    return (found["nu_error"] < ERROR) & (found["nu_reconstruction"] < RECONSTRUCTION)
