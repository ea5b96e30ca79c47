"""Another model on the samples of a harvest, and the base's dictionaries continued on it.

What stages `turned` and `controls` share. A continuation gets what its parent's null got: steps,
rate and batch order, a fresh optimiser, inputs scaled by the same number, and activations rounded
as the harvest stores them, so that a model that changed nothing gives the null again.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steps.diff import activations, arrows
from steps.diff.arrows import ARROWS, HALVES, NULLS
from steps.diff.sae import saved
from steps.diff.sae.fit import fit
from steps.diff.stream import stream
from steps.diff.turning.site import Site, gate
from steps.models import load

Sites = dict[str, Site]


def everywhere(inputs: dict[str, Path]) -> Sites:
    """Every site of inputs['dictionary'], on inputs['harvest']."""
    folder = Path(inputs["dictionary"])
    return {name: Site(inputs, folder / name) for name in gate(folder)}


def activations_of(model: Path, inputs: dict[str, Path], of: Sites, cell: str) -> dict[str, Tensor]:
    """What a VLM's folder gives at each site where the harvest's cell has its own model's.

    inputs: `harvest`, and the `items` that it was made of. Returns float32 [tokens, d] in the order
    of the harvest's index, of all sites at once: tokens x 4 bytes x the sum of their widths. Raises
    what `stream.reader` does.
    """
    tokens = activations.facts(Path(inputs["harvest"]))["cells"][cell]["tokens"]
    found: dict[str, Tensor] = {}
    given = stream(Path(inputs["harvest"]), Path(inputs["items"]), model, cell, None, list(of))
    for rows, x in given:
        for site, part in x.items():
            whole = found.setdefault(site, torch.empty(tokens, part.shape[1]))
            whole[torch.from_numpy(rows)] = activations.half(part).float().cpu()
    return found


def on(
    of: Sites, parent: str, x: dict[str, Tensor], params: Any, name: str
) -> dict[str, saved.Dictionary]:
    """The parent at each site, continued as its null was, but on x.

    x: rows of the parent's cell, as another model has them. params.diff: as of the stage
    `dictionary`. name: of the checkpoint, from which a killed run goes on.
    """
    want, kept, cell = params.diff, params.run.checkpoints, ARROWS[parent][1]
    plan = arrows.plans(want, params.run.seed)[NULLS[parent]]
    checkpoint = None if kept is None else Path(kept) / f"{name}.safetensors"
    scale = {site: at.load(parent).config["metadata"]["scale"] for site, at in of.items()}
    starts, inputs = {}, {}
    for site, at in of.items():
        weights = at.load(parent).weights
        biases = {bias: weights[bias] * scale[site] for bias in ("b_enc", "b_dec")}
        starts[site] = weights | biases
        mine = torch.from_numpy(arrows.rows(at.harvest, cell, want.on, half=HALVES[NULLS[parent]]))
        inputs[site] = x[site][mine] * scale[site]
    fitted = fit(inputs, starts, plan, checkpoint)
    device = load.device()
    return {site: saved.scaled(one, want.k, scale[site]).to(device) for site, one in fitted.items()}
