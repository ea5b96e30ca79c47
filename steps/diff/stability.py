"""Whether another seed finds the same latents: dictionaries of one base, matched across seeds.

Latents of two seeds are paired one to one so that the sum of their decoder cosines is largest
(Hungarian method, Kuhn 1955). A latent that finds no partner may still span what the other seed's
unmatched latents span (2606.12138), so for those the overlap of the two subspaces is given:

    overlap = ||U^T V||_F^2 / min(dim U, dim V),     U, V orthonormal bases of the unmatched rows

1: one lies in the other; the share to expect of random subspaces is max(dim U, dim V) / d.
"""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from steps.diff.arrows import FINAL
from steps.diff.sae import saved
from steps.stage import StageError
from steps.track import log

BOUNDS = (0.7, 0.9)  # cosines from which two latents count as one
RANK = 0.01  # singular values below this share of the largest span nothing


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Match the MF dictionaries in inputs['dictionary'], a folder seed<k> each, site by site.

    params.diff.seeds: the seeds.

    Writes stability.parquet: site, seeds, measure, value, one row each for every pair of seeds.
    Returns means over pairs; nothing for one seed. Latents that fired on held-out scenes are
    matched, where the dictionary says which. Raises StageError where seeds have different sites.
    """
    seeds = [f"seed{seed}" for seed in params.diff.seeds]
    rows: list[tuple] = []
    if len(seeds) < 2:
        log.text(f"stability: {len(seeds)} seed: give diff.seeds two or more to compare them")
    else:
        folders = {seed: Path(inputs["dictionary"]) / seed for seed in seeds}
        sites = {seed: sorted(_sites(folder)) for seed, folder in folders.items()}
        for one, other in combinations(seeds, 2):
            if sites[one] != sites[other]:
                raise StageError(
                    f"{folders[one]} and {folders[other]} hold dictionaries of different sites: "
                    "fit both again with one diff.sites"
                )
            for site in sites[one]:
                pair = [_rows(folders[seed] / site / FINAL) for seed in (one, other)]
                rows += [(site, f"{one} {other}", *row) for row in matched(*pair).items()]
    table = pd.DataFrame(rows, columns=["site", "seeds", "measure", "value"])
    table.to_parquet(out / "stability.parquet", index=False)
    means = table.groupby(["site", "measure"], as_index=False)["value"].mean()
    return {f"stability/{r.site}/{r.measure}": float(r.value) for r in means.itertuples()}


def _sites(folder: Path) -> list[str]:
    return [path.parent.parent.name for path in folder.glob(f"*/{FINAL}/cfg.json")]


def _rows(folder: Path) -> np.ndarray:
    """Decoder rows of unit length, of the latents that fired [f, d]."""
    one = saved.load(folder)
    rows = torch.nn.functional.normalize(one.weights["W_dec"]).double().numpy()
    alive = saved.alive(folder)
    return rows if alive is None else rows[alive.numpy()]


def matched(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """How well unit rows [f, d] and [g, d] match.

    share_0.7, share_0.9: of the smaller set, matched at that cosine or more; cosine: median over
    the matching; best: median of each row's best cosine, whoever else it is the best of; overlap:
    of what is not matched at 0.7 (left out where one has nothing unmatched), with overlap_chance.
    """
    from scipy.optimize import linear_sum_assignment

    cosine = one @ other.T
    mine, theirs = linear_sum_assignment(cosine, maximize=True)
    found = cosine[mine, theirs]
    measures = {f"share_{bound}": float((found >= bound).mean()) for bound in BOUNDS}
    measures["cosine"] = float(np.median(found))
    measures["best"] = float(np.median(np.concatenate([cosine.max(0), cosine.max(1)])))
    good = found >= BOUNDS[0]
    left = [np.delete(rows, at[good], 0) for rows, at in ((one, mine), (other, theirs))]
    if min(map(len, left)):
        u, v = (_basis(rows) for rows in left)
        small, large = sorted((u.shape[1], v.shape[1]))
        measures["overlap"] = float(np.square(u.T @ v).sum() / small)
        measures["overlap_chance"] = large / one.shape[1]
    return measures


def _basis(rows: np.ndarray) -> np.ndarray:
    """Orthonormal columns [d, r] that span rows [n, d]."""
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    return basis[sizes > RANK * sizes[0]].T
