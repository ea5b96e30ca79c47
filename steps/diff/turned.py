"""How far features turned when a model that sees was post-trained: an arm as one more stage.

Of the base's dictionaries, MF reads the tuned model with the image (cell F). It is continued on an
arm's activations of the very same samples, with the budget and the batch order of F2, its
continuation on the base's own: the null. What turned beyond that is owed to post-training. An arm
that changed nothing gives F2 again. Where MF had not converged the arrow is refused.

Arms of one seed share parent, null, tokens and order, so that their sets of turned features can be
held against each other (`across`).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.diff.activations import TYPES
from steps.diff.arrows import ARROWS, FINAL, NULLS
from steps.diff.turning import carry, energy, measures, nulls
from steps.diff.turning.site import WORDS, Site
from steps.track import log

PARENT, CELL = FINAL, ARROWS[FINAL][1]
RULES = ("beyond", "matched", "paired")


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Continue MF on the activations of the VLM inputs['model'], at each site.

    inputs: also `harvest` and `dictionary` of the arm's base, and the `items` that they were made
    of, all of this seed. params.diff: as of the stage `dictionary`. Writes turned.parquet, a row a
    site and feature (see `arrow`). Metrics: `turned/<site>/moved`, how far the arm moved the
    activations at all, as a share of their variance, and those of each token type; shares beyond
    the null by each rule; medians.
    """
    of, frames, metrics = carry.everywhere(inputs), [], {}
    seen = carry.activations_of(Path(inputs["model"]), inputs, of, CELL)
    children = carry.on(of, PARENT, seen, params, "turned")
    for name, site in of.items():
        frame = arrow(site, PARENT, children[name], seen[name])
        frames.append(frame.assign(site=name)[["site", *frame.columns]])
        found = moved(site, CELL, seen[name])
        metrics |= {f"turned/{name}/{key}": value for key, value in found.items()}
        log.text(f"turned: {name}, moved by {found['moved']:.4f} of the variance")
    table = pd.concat(frames, ignore_index=True)
    table.to_parquet(out / "turned.parquet", index=False)
    return metrics | figures(table, params.run.seed)


def rescored(params: Any, inputs: dict[str, Path], kept: Path, out: Path) -> dict[str, float]:
    """What `run` returns but `turned/<site>/moved...`, from the features in the folder `kept`."""
    del inputs, out
    return figures(pd.read_parquet(kept / "turned.parquet"), params.run.seed)


def figures(table: pd.DataFrame, seed: int) -> dict[str, float]:
    """`summary` of each site of turned.parquet."""
    return {
        f"turned/{site}/{key}": value
        for site, frame in table.groupby("site", sort=False)
        for key, value in summary(frame, seed).items()
    }


def arrow(site: Site, parent: str, child: Any, x: Tensor) -> pd.DataFrame:
    """A row a feature: how far `child`, the parent continued on x, turned beyond the null.

    x [tokens, d]: the rows of the parent's cell as another model has them. Columns: refused; cosine
    (parent to child) and cosine_null; what `nulls.turned` says of them (settled, quantile, excess,
    beyond, matched, paired); rate (the parent's), rate_null and rate_after; energy_null and
    energy_after, mean squared codes a word behind the image, and energy_ratio, E_after / (E_after +
    E_null), one half where nothing changed. Of a refused arrow angles are empty.
    """
    null, cell = NULLS[parent], ARROWS[parent][1]
    types, index = site.types(cell), site.index(cell)
    groups = np.where(np.isin(types, WORDS), index["sample"].to_numpy(dtype=np.int64), -1)
    after, _ = measures.activity(child, x, types, len(TYPES), groups)
    before, drift = site.look(parent, cell), site.look(null, cell)
    start = site.load(parent).weights["W_dec"]
    gone = not site.passed[parent]["converged"]
    frame = pd.DataFrame({"feature": np.arange(len(start)), "refused": gone})
    frame["cosine"] = measures.cosines(start, child.weights["W_dec"])
    frame["cosine_null"] = measures.cosines(start, site.load(null).weights["W_dec"])
    alive = before.alive & drift.alive & after.alive & (not gone)
    verdict = nulls.turned(frame["cosine"], frame["cosine_null"], before.rate, alive)
    frame = frame.join(verdict)
    if gone:
        frame[["cosine", "cosine_null", "excess"]] = np.nan
    frame = frame.assign(rate=before.rate, rate_null=drift.rate, rate_after=after.rate)
    first, second = (energy.means(seen.groups) for seen in (drift, after))
    ratio = energy.ratio(second, first)
    return frame.assign(energy_null=first, energy_after=second, energy_ratio=ratio)


def moved(site: Site, cell: str, x: Tensor) -> dict[str, float]:
    """Mean squared change of a cell's activations over their variance, also of each token type."""
    before, types = site.read(cell).double(), site.types(cell)
    kinds = {"": types >= 0} | {f"/{name}": types == i for i, name in enumerate(TYPES)}
    found = {}
    for name, rows in kinds.items():
        some = torch.tensor(rows)
        if rows.sum() > 1 and (spread := (before[some] - before[some].mean(0)).square().sum()) > 0:
            change = (x[some].double() - before[some]).square().sum()
            found[f"moved{name}"] = float(change / spread)
    return found


def summary(frame: pd.DataFrame, seed: int) -> dict[str, float]:
    """Figures of one arrow, flat; no angles where it is refused or few features are settled."""
    settled = frame[frame["settled"]]
    found = {"refused": float(frame["refused"].any()), "settled": float(len(settled))}
    if len(settled) < nulls.FEWEST:
        return found
    found |= {rule: float(settled[rule].mean()) for rule in RULES}
    found["beyond_null"] = nulls.held_out(settled["cosine_null"].to_numpy(), seed)
    for name, column in (("angle", "cosine"), ("angle_null", "cosine_null")):
        found[name] = float(np.median(nulls.degrees(settled[column].to_numpy())))
    found |= {name: float(settled[name].median()) for name in ("cosine", "excess")}
    found["energy_ratio"] = float(settled["energy_ratio"].median())
    return {name: value for name, value in found.items() if np.isfinite(value)}
