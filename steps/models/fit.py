"""The recipe's training loop: Muon and AdamW, cosine, clipping, resume, a guard for NaN."""

import json
import math
import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from steps import halt
from steps.models import feed
from steps.stage import StageError
from steps.track import log

CHECKABLE = 20
"""The first steps run in float32 whatever the precision, so any machine can repeat them."""
READ = 20
"""Losses that are read from a GPU at a time: reading one waits until the device has caught up."""


def rate(step: int, steps: int, warmup: int) -> float:
    """Cosine decay to 0 after `warmup` steps of linear rise (factor in 0..1)."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def fit(
    part,
    modules: dict,
    draw: Callable[[int, Any], Any],
    loss: Callable[[Any], Any],
    checkpoints: Path,
    seed: int,
    stop: int | None = None,
    tower_share: float = 1.0,
    again: int = 0,
) -> list[float]:
    """Train `modules` (name to torch module) for `part.steps` steps, and for `again` more.

    part: a recipe section (steps, learning_rate, matrix_rate, warmup, weight_decay, precision,
    save_every). modules: all on one device, where they are trained and stay. draw(step, rng): a
    fresh batch, drawn with the numpy generator of that step, so that a resumed run sees the batches
    that an undisturbed one would; beside a GPU other processes draw (steps.models.feed), so it can
    be pickled, as can what it returns, and does without torch. loss(batch): that batch's loss, a
    tensor on the modules' device. checkpoints: a folder of its own, from which it resumes on
    whichever device. stop: end after so many steps of the schedule, to repeat a recipe's beginning.
    tower_share: what the rates are multiplied by for parameters called `vision_tower`. again: steps
    of a second cycle of rates, a warm restart (Loshchilov & Hutter 2017, arXiv 1608.03983). Returns
    the loss of every step. Raises StageError at a loss that is not finite, Halted at a checkpoint
    when time is up, and what `draw` raises.
    """
    import torch

    weights = [p for m in modules.values() for p in m.parameters() if p.requires_grad]
    optimisers = _optimisers(part, modules, tower_share)
    start, losses = _restore(checkpoints, modules, optimisers)
    whole, device, unread = part.steps + again, weights[0].device.type, []
    # What is in float32 is so for its precision, in the first steps above all.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    steps = range(start, min(whole, stop or whole))
    with closing(feed.batches(draw, seed, steps, feed.workers(device))) as batches:
        for step, batch in zip(steps, batches, strict=True):
            now = (step, part.steps) if step < part.steps else (step - part.steps, again)
            for group in (g for optimiser in optimisers for g in optimiser.param_groups):
                group["lr"] = group["peak"] * rate(*now, part.warmup)
            low = part.precision == "bfloat16" and step >= CHECKABLE
            with torch.autocast(device, torch.bfloat16, enabled=low):
                value = loss(batch)
            unread.append(value.detach())
            keep = (step + 1) % part.save_every == 0 and step + 1 < whole
            if device == "cpu" or keep or step == steps[-1] or (step + 1) % READ == 0:
                losses += _read(unread, len(losses))
                unread.clear()
            value.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            for optimiser in optimisers:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            if (step + 1) % 100 == 0 or step + 1 == whole:
                log.metric("loss", sum(losses[-100:]) / len(losses[-100:]), step + 1)
            if keep:
                _keep(checkpoints, modules, optimisers, losses)
                halt.kept()
    return losses


def _read(values: list, first: int) -> list[float]:
    """Losses of consecutive steps from `first` on; StageError if one is no number."""
    import torch

    read = torch.stack(values).tolist()
    for step, value in enumerate(read, first):
        if not math.isfinite(value):
            raise StageError(
                f"the loss is {value} at step {step}; lower the part's learning_rate "
                "and matrix_rate"
            )
    return read


def _optimisers(part, modules: dict, tower_share: float = 1.0) -> list:
    """Muon for the matrices inside transformer layers (if asked for), AdamW for all else.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) orthogonalises a matrix's
    momentum, which is meant for hidden layers, not for embeddings, heads and vectors. torch's does
    so in bfloat16 whatever the weights are in.
    """
    from torch.optim import AdamW, Muon

    from steps.models import muon

    found = defaultdict(list)
    for module in modules.values():
        for name, p in module.named_parameters():
            if p.requires_grad:
                hidden = bool(part.matrix_rate) and p.ndim == 2 and "layers." in name
                found[hidden, "vision_tower" in name].append(p)

    def groups(hidden: bool, rate: float) -> list[dict]:
        return [
            {"params": weights, "peak": rate * (tower_share if tower else 1.0)}
            for (matrices, tower), weights in found.items()
            if matrices == hidden
        ]

    decay, rest = part.weight_decay, groups(False, part.learning_rate)
    adam = AdamW(rest, part.learning_rate, betas=(0.9, 0.98), weight_decay=decay)
    if not (matrices := groups(True, part.matrix_rate)):
        return [adam]
    kind = Muon if part.precision == "bfloat16" else muon.Muon
    return [adam, kind(matrices, part.matrix_rate, weight_decay=decay)]


def _keep(folder: Path, modules: dict, optimisers: list, losses: list[float]) -> None:
    """Save weights, optimiser and losses under a private name, then put them in place at once."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = {f"{n}.{k}": v for n, m in modules.items() for k, v in m.state_dict().items()}
    for o, optimiser in enumerate(optimisers):
        for i, entry in optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{o}.{i}.{k}": v for k, v in entry.items()}
    mark = folder / f"tmp-{os.getpid()}"
    # Tied weights are stored twice here: simpler than following the ties on the way back.
    save_file(
        {k: v.detach().to("cpu", copy=True).contiguous() for k, v in state.items()},
        mark,
        metadata={"losses": json.dumps(losses)},
    )
    os.replace(mark, folder / "state.safetensors")


def _restore(folder: Path, modules: dict, optimisers: list) -> tuple[int, list[float]]:
    """Load the last kept state, if there is one; returns the step to go on with and the losses."""
    from safetensors import safe_open

    path = folder / "state.safetensors"
    if not path.is_file():
        return 0, []
    with safe_open(path, "pt") as kept:
        losses = json.loads(kept.metadata()["losses"])
        state = {k: kept.get_tensor(k) for k in kept.keys()}  # noqa: SIM118
    for name, module in modules.items():
        prefix = name + "."
        own = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        module.load_state_dict(own)
    for o, optimiser in enumerate(optimisers):
        held = optimiser.state_dict()
        for key, value in state.items():
            if key.startswith(f"optimiser.{o}."):
                _, _, i, k = key.split(".")
                held["state"].setdefault(int(i), {})[k] = value
        optimiser.load_state_dict(held)
    return len(losses), losses
