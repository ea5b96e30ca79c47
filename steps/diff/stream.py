"""What a model gives for the samples of a harvest, made as it is needed and never stored."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.diff import activations, hooks, samples
from steps.diff.samples import Sample
from steps.models import load
from steps.stage import StageError

BATCH = 32  # samples a forward pass


def stream(
    harvest: Path,
    items: Path,
    model: Path,
    cell: str,
    numbers: Sequence[int] | None = None,
    sites: Sequence[str] | None = None,
) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """Activations of a VLM's folder on samples of a harvest's cell, BATCH samples at a time.

    numbers: which samples, in which order; None for all as they are in the index. The rest as for
    `reader`. Yields the index's rows int64 [n] and {site: float32 [n, d]}, on the model's device.
    In the index's order the batches are those of the harvest, so that a base's own model gives
    what `activations.read` does up to how `activations.half` rounds.
    """
    of = activations.index(harvest, cell)["sample"].to_numpy()
    numbers = range(int(of[-1]) + 1) if numbers is None else numbers
    read = reader(harvest, items, model, cell, sites)
    for at in range(0, len(numbers), BATCH):
        some = numbers[at : at + BATCH]
        spans = zip(np.searchsorted(of, some), np.searchsorted(of, some, "right"), strict=True)
        yield np.concatenate([np.arange(*span) for span in spans]), read(some)


def reader(
    harvest: Path,
    items: Path,
    model: Path,
    cell: str,
    sites: Sequence[str] | None = None,
) -> Callable[[Sequence[int]], dict[str, Tensor]]:
    """A function from samples' numbers to what `model` gives there, in one forward pass.

    harvest, items: results of the harvest, and the items that it was made of. model: any VLM's
    folder, a base's or an arm's: `cell` says which input it reads. sites: None for all of the
    harvest. The function gives {site: float32 [n, d]} of the tokens kept, sample by sample.
    Memory is bounded by the samples of a call times the sites: give fewer where it is short. Raises
    StageError for other items than the harvest's, another tokenizer, or a site that is not there.
    """
    told = activations.facts(harvest)
    sites = list(told["sites"] if sites is None else sites)
    some = samples.again(harvest, items, cell)
    if words(model) != told["tokenizer"]:
        raise StageError(
            f"{model / 'tokenizer.json'} is not the tokenizer that {harvest} was read with: give a "
            "model that was trained from the harvest's base"
        )
    vlm = load.vlm(model).to(load.device())
    hooks.stop_after(vlm, max(map(hooks.layer_of, sites)))
    image = activations.CELLS[cell][1] == "image"
    pixels = load.reader(load.images(model)) if image else None
    return lambda numbers: forward(vlm, sites, [some[i] for i in numbers], pixels)


def read(inputs: dict[str, Path], cell: str, site: str, keep: Any = None) -> Tensor:
    """A cell's activations at a site, float32 [tokens, d]: as stored, or from the base's model.

    inputs: harvest, and the base and items that it was made of. keep: bool [tokens], None for all.
    Raises StageError for activations of another model than the base's, and as `activations.read`.
    """
    return torch.cat([part[site] for part in parts(inputs, cell, [site], keep)])


def parts(
    inputs: dict[str, Path], cell: str, sites: Sequence[str], keep: Any = None
) -> Iterator[dict[str, Tensor]]:
    """The same at several sites, in parts: one as stored, or a part a forward pass."""
    harvest, model = Path(inputs["harvest"]), _model(inputs, cell)
    if activations.facts(harvest)["stored"]:
        stored = activations.of(harvest, cell, model)
        yield {site: stored(site, keep) for site in sites}
        return
    for rows, x in stream(harvest, Path(inputs["items"]), model, cell, None, sites):
        mine = slice(None) if keep is None else torch.from_numpy(np.asarray(keep)[rows])
        yield {site: activations.half(of).float().cpu()[mine] for site, of in x.items()}


def forwards(
    inputs: dict[str, Path], cell: str, sites: Sequence[str], keep: np.ndarray
) -> tuple[list[int], Callable[[list[int]], dict[str, Tensor]]]:
    """For `sae.source.online`: tokens kept of each sample that has any, and their activations.

    Samples count from 0 among those that have any; the rest as for `read`.
    """
    harvest = Path(inputs["harvest"])
    sample = activations.index(harvest, cell)["sample"].to_numpy()
    mine = [keep[at] for at in np.split(np.arange(len(keep)), np.flatnonzero(np.diff(sample)) + 1)]
    some = [number for number, kept in enumerate(mine) if kept.any()]
    model = reader(harvest, Path(inputs["items"]), _model(inputs, cell), cell, sites)

    def give(numbers: list[int]) -> dict[str, Tensor]:
        wanted = [some[number] for number in numbers]
        kept = torch.from_numpy(np.concatenate([mine[number] for number in wanted]))
        return {s: activations.half(x).float().cpu()[kept] for s, x in model(wanted).items()}

    return [int(mine[number].sum()) for number in some], give


def _model(inputs: dict[str, Path], cell: str) -> Path:
    return Path(inputs["base"]) / activations.CELLS[cell][0]


@torch.no_grad()
def forward(
    model: Any, sites: Sequence[str], some: Sequence[Sample], pixels: Callable | None
) -> dict[str, Tensor]:
    """Activations {site: [n, d]} of the tokens kept of some samples, sample by sample, in one pass.

    pixels: what turns images uint8 [N, H, W, 3] into what the tower reads; None to leave them out.
    """
    longest = max(len(s.ids) for s in some)
    ids = torch.zeros(len(some), longest, dtype=torch.int64)
    types = torch.full((len(some), longest), -1)
    mask = torch.zeros_like(ids)
    for row, sample in enumerate(some):
        ids[row, : len(sample.ids)] = torch.from_numpy(sample.ids)
        types[row, : len(sample.ids)] = torch.from_numpy(sample.types)
        mask[row, : len(sample.ids)] = 1
    given = {"input_ids": ids, "attention_mask": mask}
    if pixels is not None:
        given["pixel_values"] = pixels(np.stack([s.images[s.row] for s in some]))
    with hooks.capture(model, sites) as seen:
        model(
            **{name: value.to(model.device) for name, value in given.items()},
            use_cache=False,
            logits_to_keep=1,  # none at all cannot be asked for
        )
    kept = (types >= 0).to(model.device)
    return {site: seen[site][kept].float() for site in sites}


def words(model: Path) -> str:
    """SHA-256 of how a model folder's tokenizer reads; how it pads and cuts is left out."""
    told = json.loads((model / "tokenizer.json").read_text("utf-8"))
    told = {name: value for name, value in told.items() if name not in ("padding", "truncation")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
