"""Fit sparse dictionaries to activations, from scratch or from others; stop and go on anywhere.

Dictionaries of several sites are fitted beside each other on the same tokens in the same order, and
come out as if each were fitted alone. Two fits with one seed see the same order too: the
continuation on changed activations and its null differ in nothing else (steps.diff.sae.source).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from steps import halt
from steps.diff.sae import batchtopk, topk
from steps.diff.sae.source import Source, stored
from steps.models import load
from steps.stage import StageError

WARM_UP, DECAY = 0.05, 0.2  # shares of the steps: learning rate from 0 up, and back down to 0
DEAD_WINDOW = 0.1  # share of the token budget without firing after which a latent counts as dead
KEEP_EVERY = 200  # steps between checkpoints
RULES = {"topk": topk.rule, "batchtopk": batchtopk.rule}
"""Kinds of dictionaries that can be fitted: how the codes of a batch are chosen."""
Note = Callable[[str, int, float, float], None]


@dataclass(frozen=True)
class Plan:
    """One fit: k latents a token, `steps` batches of `batch` tokens, Adam at `learning_rate`."""

    k: int
    steps: int
    batch: int
    learning_rate: float
    seed: int
    kind: str = "topk"


@dataclass(frozen=True)
class Fitted:
    """New weights, the last batch's loss, and a BatchTopK dictionary's threshold (else None)."""

    weights: topk.Weights
    loss: float
    threshold: float | None


class _State:
    """A dictionary under way: weights, Adam, tokens since each latent last fired, threshold."""

    def __init__(self, weights: topk.Weights, plan: Plan) -> None:
        device = load.device()
        self.weights = {name: tensor.to(device, copy=True) for name, tensor in weights.items()}
        self.adam = torch.optim.Adam(self.weights.values(), lr=plan.learning_rate, fused=True)
        self.idle = torch.zeros(weights["b_enc"].shape, dtype=torch.int64, device=device)
        self.threshold = torch.tensor(float("nan"), dtype=torch.float64, device=device)
        self.loss = self.dead = float("nan")

    def step(self, x: Tensor, plan: Plan, rate: float, window: int) -> None:
        dead = self.idle > window
        x = x.to(self.idle.device)
        choose = RULES[plan.kind](plan.k)
        grads, loss, codes = topk.gradients(self.weights, x, choose, dead)
        topk.tangent(self.weights, grads)
        for name, tensor in self.weights.items():
            tensor.grad = grads[name]
        self.adam.param_groups[0]["lr"] = rate
        self.adam.step()
        topk.unit_rows(self.weights)
        self.idle += plan.batch
        self.idle[codes.latents[codes.values > 0]] = 0
        if plan.kind == "batchtopk":
            batchtopk.follow(self.threshold, codes)
        self.loss, self.dead = float(loss), float(dead.float().mean())

    def tensors(self) -> dict[str, Tensor]:
        """All that a later step hangs on, by name."""
        found = {"idle": self.idle, "threshold": self.threshold}
        for name, tensor in self.weights.items():
            found[f"weights.{name}"] = tensor
            of = self.adam.state[tensor].items()
            found |= {f"adam.{key}.{name}": value for key, value in of}
        return found

    def restore(self, kept: dict[str, Tensor]) -> None:
        """Take up what `tensors` gave."""
        self.idle.copy_(kept["idle"])
        self.threshold.copy_(kept["threshold"])
        for name, tensor in self.weights.items():
            tensor.copy_(kept[f"weights.{name}"])
            self.adam.state[tensor] = {
                key: kept[f"adam.{key}.{name}"].to(tensor.device)
                for key in ("step", "exp_avg", "exp_avg_sq")
            }


def fit(
    x: dict[str, Tensor] | Source,
    weights: dict[str, topk.Weights],
    plan: Plan,
    checkpoint: Path | None = None,
    note: Note = lambda site, step, loss, dead: None,
) -> dict[str, Fitted]:
    """Continue the `weights` of each site (left untouched) for plan.steps steps.

    x: activations {site: [n, d]}, or a source of batches of them (steps.diff.sae.source). With
    `checkpoint` (a file) the state of all sites is kept there now and then and at the end, and a
    later call goes on from it: bit for bit what an uninterrupted call gives. `note(site, step,
    loss, dead share)` is called about 50 times a site. Raises StageError when x holds fewer tokens
    than a batch, or when a loss is not finite.
    """
    source = stored(x, plan.batch, plan.seed) if isinstance(x, dict) else x
    states = {site: _State(start, plan) for site, start in weights.items()}
    first = _restore(checkpoint, states)
    window = int(DEAD_WINDOW * plan.steps * plan.batch)
    told = max(plan.steps // 50, 1)
    # not zip: it would ask the source for one batch more than there are steps
    batches = source(first) if first < plan.steps else iter(())
    for step in range(first, plan.steps):
        batch, rate = next(batches), plan.learning_rate * ramp(step, plan.steps)
        for site, state in states.items():
            state.step(batch[site], plan, rate, window)
            if not state.loss < float("inf"):
                raise StageError(
                    f"dictionary loss of {site} is {state.loss} at step {step}: lower "
                    f"diff.learning_rate ({plan.learning_rate}) or check the activations"
                )
            if step % told == 0 or step == plan.steps - 1:
                note(site, step, state.loss, state.dead)
        if checkpoint and (step % KEEP_EVERY == KEEP_EVERY - 1 or step == plan.steps - 1):
            _keep(checkpoint, states, step + 1)
            halt.kept()
    return {site: _fitted(state, plan) for site, state in states.items()}


def _fitted(state: _State, plan: Plan) -> Fitted:
    weights = {name: tensor.detach().cpu() for name, tensor in state.weights.items()}
    threshold = float(state.threshold) if plan.kind == "batchtopk" else None
    return Fitted(weights, state.loss, threshold)


def ramp(step: int, steps: int) -> float:
    """Learning-rate factor: linear up over the first 5 %, flat, linear down over the last 20 %."""
    done = (step + 1) / steps
    return min(1.0, done / WARM_UP, (1 - done + 1 / steps) / DECAY)


def done(checkpoint: Path | None) -> int:
    """The number of steps that a checkpoint has behind it; 0 where there is none."""
    if checkpoint is None or not checkpoint.exists():
        return 0
    with safe_open(checkpoint, "pt") as file:
        return int(file.metadata()["step"])


def _keep(path: Path, states: dict[str, _State], step: int) -> None:
    kept = {
        f"{site}/{name}": tensor.detach().contiguous()
        for site, state in states.items()
        for name, tensor in state.tensors().items()
    }
    losses = {f"loss/{site}": state.loss.hex() for site, state in states.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    save_file(kept, beside, {"step": str(step), **losses})
    os.replace(beside, path)


def _restore(path: Path | None, states: dict[str, _State]) -> int:
    """Bring a kept state into the sites' states; its number of steps."""
    if path is None or not (first := done(path)):
        return 0
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        for site, state in states.items():
            mine = [name for name in names if name.startswith(f"{site}/")]
            state.restore({n.removeprefix(f"{site}/"): file.get_tensor(n) for n in mine})
            state.loss = float.fromhex(file.metadata()[f"loss/{site}"])
    return first
