"""Fit a site's nine dictionaries (`arrows`), from the harvest's store or beside a running model."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.diff import activations, arrows, stream
from steps.diff.activations import TYPES
from steps.diff.sae import saved, topk
from steps.diff.sae.fit import Plan, done, fit
from steps.diff.sae.saved import Dictionary
from steps.diff.sae.source import Source, online
from steps.diff.turning import measures
from steps.models.load import device
from steps.stage import StageError
from steps.track import log

CHUNK = 4096  # tokens encoded at once
BUFFER = 100_000  # tokens that wait where no activations are stored


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Fit all dictionaries to inputs['harvest'], each into <out>/<site>/<name>/.

    inputs: also the `base` and `items` that it was made of, which it holds activations of or, where
    none are stored, names the samples of.
    params.diff: kind (topk | batchtopk), width, k, steps (of S and of the arrows from it), batch
    (tokens a step), learning_rate, on (all | image | text: the tokens fitted to; in a cell without
    images `image` is the scene in words), start ({site: folder to take S up from}). A killed run
    goes on from params.run.checkpoints, if given. Raises StageError when k is not below width,
    tokens are fewer than a batch, a cell is missing, or a dictionary comes out dead.
    """
    want, harvest = params.diff, Path(inputs["harvest"])
    if want.k >= want.width:
        raise StageError(f"diff.k = {want.k}: must be below diff.width = {want.width}")
    torch.set_num_threads(params.run.threads)
    sites = _sites(harvest, want.start)
    kept = {name: _checkpoint(params.run.checkpoints, name) for name in arrows.ARROWS}
    log.resume(sum(done(path) for path in kept.values()) - 1)
    made: dict[str, dict[str, topk.Weights]] = {}
    metrics: dict[str, float] = {}
    left: dict[tuple[str, str], float] = {}
    scale: dict[str, float] = {}
    at, x, behind = None, {}, 0
    plans = arrows.plans(want, params.run.seed)
    for name, (parent, cell) in arrows.ARROWS.items():
        half, plan = arrows.HALVES[name], plans[name]
        if (cell, half) != at:
            at, mine = (cell, half), arrows.rows(harvest, cell, want.on, half=half)
            if not scale:  # cell S comes first
                mean, scale = _moments(stream.parts(inputs, cell, sites, mine))
                made["start"] = {s: _begin(s, mean[s], scale[s], params) for s in sites}
            x = _stored(inputs, cell, mine, scale)
        source = x or _online(inputs, cell, mine, scale, plan)
        fitted = fit(source, made[parent or "start"], plan, kept[name], _note(name, behind))
        made[name] = {site: of.weights for site, of in fitted.items()}
        behind += plan.steps
        for site, of in fitted.items():
            notes = {"name": name, "parent": parent, "cell": cell, "seed": params.run.seed}
            one = saved.scaled(of, want.k, scale[site])
            found, rate = _quality(inputs, cell, site, want.on, one)
            if not rate.any():
                raise StageError(
                    f"not one latent of dictionary {name} at {site} fires on held-out scenes: "
                    "lower diff.learning_rate or raise diff.steps"
                )
            saved.save(out / site / name, one, site, notes | {"scale": scale[site]}, rate)
            left[site, name] = found["fvu/all"]
            found |= {"loss": of.loss, "dead": float((rate == 0).float().mean())}
            metrics |= {f"dictionary/{site}/{name}/{key}": v for key, v in found.items()}
    gate = arrows.gate(sites, left)
    (out / "gate.json").write_text(json.dumps(gate, indent=1))
    for site in sites:
        metrics[f"dictionary/{site}/scale"] = scale[site]
        for name, of in gate[site].items():
            metrics |= {f"dictionary/{site}/{key}/{name}": float(v) for key, v in of.items()}
    log.model(out)
    return metrics


def _sites(harvest: Path, start: dict[str, str]) -> list[str]:
    """The harvest's sites, if it has all cells and `start` names none that is not there."""
    facts = activations.facts(harvest)
    for _, cell in arrows.ARROWS.values():
        if cell not in facts["cells"]:
            raise StageError(
                f"{harvest} has no cell {cell}: harvest the base again, with both of its stages"
            )
    for site in start:
        if site not in facts["sites"]:
            raise StageError(
                f"diff.start.{site}: sites harvested are {', '.join(facts['sites'])}: name one"
            )
    return list(facts["sites"])


def _moments(parts: Iterator[dict[str, Tensor]]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Each site's mean [d], and the power of two that brings its root mean square nearest to 1."""
    tokens, sums, squares = 0, {}, {}
    for part in parts:
        for site, x in part.items():
            sums[site] = sums.get(site, 0) + x.double().sum(0)
            squares[site] = squares.get(site, 0) + float(x.double().square().mean(1).sum())
        tokens += len(x)
    mean = {site: (total / tokens).float() for site, total in sums.items()}
    return mean, {s: 2.0 ** -round(math.log2(of / tokens) / 2) for s, of in squares.items()}


def _stored(
    inputs: dict[str, Path], cell: str, mine: np.ndarray, scale: dict[str, float]
) -> dict[str, Tensor]:
    """The tokens `mine` of a cell at each site, scaled; nothing where no activations are stored."""
    if not activations.facts(Path(inputs["harvest"]))["stored"]:
        return {}
    return {site: stream.read(inputs, cell, site, mine) * of for site, of in scale.items()}


def _online(
    inputs: dict[str, Path], cell: str, mine: np.ndarray, scale: dict[str, float], plan: Plan
) -> Source:
    """The same tokens from the model as they are wanted: BUFFER of them are held at a time."""
    counts, forward = stream.forwards(inputs, cell, list(scale), mine)

    def scaled(numbers: list[int]) -> dict[str, Tensor]:
        return {site: x * scale[site] for site, x in forward(numbers).items()}

    return online(scaled, counts, plan.batch, plan.seed, max(BUFFER, 2 * plan.batch))


def _begin(site: str, mean: Tensor, scale: float, params: Any) -> topk.Weights:
    """What S starts from: random weights, or a dictionary from elsewhere."""
    want = params.diff
    if site in want.start:
        return saved.begin(Path(want.start[site]), site, len(mean), want.width, scale)
    generator = torch.Generator().manual_seed(params.run.seed)
    return topk.start(scale * mean[None], want.width, generator)


def _checkpoint(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else Path(folder) / f"{name}.safetensors"


def _note(name: str, behind: int) -> Callable[[str, int, float, float], None]:
    """Logs a fit's curves on one axis for all dictionaries: steps of the fits before it count."""

    def note(site: str, step: int, loss: float, dead: float) -> None:
        log.metric(f"dictionary/{site}/{name}/loss", loss, behind + step)
        log.metric(f"dictionary/{site}/{name}/dead", dead, behind + step)

    return note


def _quality(
    inputs: dict[str, Path], cell: str, site: str, on: str, one: Dictionary
) -> tuple[dict[str, float], Tensor]:
    """On held-out tokens: FVU by type (all: of the kind fitted to), L0, and firing rates [f]."""
    harvest = Path(inputs["harvest"])
    held, index = arrows.rows(harvest, cell, "all", "eval"), activations.index(harvest, cell)
    kinds = {"all": arrows.rows(harvest, cell, on, "eval")[held]}
    kinds |= {kind: (index["type"] == kind).to_numpy()[held] for kind in TYPES}
    x, one, parts, firings = stream.read(inputs, cell, site, held), one.to(device()), [], []
    for part, mine in zip(x.split(CHUNK), torch.tensor(kinds["all"]).split(CHUNK), strict=True):
        codes = one.codes(part.to(device()))
        parts.append(one.decode(codes).cpu())
        firings.append((codes[mine.to(codes.device)] > 0).sum(0).cpu())
    again, rate = torch.cat(parts), torch.stack(firings).sum(0) / max(kinds["all"].sum(), 1)
    found = {"l0": float(rate.sum())}
    for kind, mask in kinds.items():
        if mask.sum() > 1:
            found[f"fvu/{kind}"] = measures.fvu(x, again, torch.tensor(mask))
    return found, rate
