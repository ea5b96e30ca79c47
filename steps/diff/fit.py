"""Fit a TopK dictionary to activations, from scratch or from another one; stop and go on anywhere.

Everything random is a function of (seed, epoch), so that two fits with one seed see the same tokens
in the same order: the continuation on changed activations and its null differ in nothing else.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from steps.diff import topk
from steps.stage import StageError

WARM_UP, DECAY = 0.05, 0.2  # shares of the steps: learning rate from 0 up, and back down to 0
DEAD_WINDOW = 0.1  # share of the token budget without firing after which a latent counts as dead
KEEP_EVERY = 200  # steps between checkpoints


@dataclass(frozen=True)
class Plan:
    """One fit: k latents a token, `steps` batches of `batch` tokens, Adam at `learning_rate`.

    `variance` is the total variance of the inputs that the loss is measured in (see topk).
    """

    k: int
    steps: int
    batch: int
    learning_rate: float
    variance: float
    seed: int


def fit(
    x: Tensor,
    weights: topk.Weights,
    plan: Plan,
    checkpoint: Path | None = None,
    note: Callable[[int, float, float], None] = lambda step, loss, dead: None,
) -> tuple[topk.Weights, float]:
    """Continue `weights` (left untouched) on inputs x [n, d] for plan.steps steps.

    Returns the new weights and the last batch's loss. With `checkpoint` (a file) the state is kept
    there now and then and at the end, and a later call goes on from it: bit for bit what an
    uninterrupted call gives. `note(step, loss, dead share)` is called about 50 times. Raises
    StageError when x holds fewer tokens than a batch, or when the loss is not finite.
    """
    if len(x) < plan.batch:
        raise StageError(
            f"diff.batch is {plan.batch}, more than the {len(x)} tokens collected: "
            "lower diff.batch or raise diff.tokens"
        )
    weights = {name: tensor.clone() for name, tensor in weights.items()}
    adam = torch.optim.Adam(weights.values(), lr=plan.learning_rate)
    idle = torch.zeros(weights["b_enc"].shape, dtype=torch.int64)  # tokens since it last fired
    first, loss = _restore(checkpoint, weights, adam, idle)
    window = int(DEAD_WINDOW * plan.steps * plan.batch)
    for step, rows in batches(len(x), plan, first):
        dead = idle > window
        grads, loss, fired = topk.gradients(weights, x[rows], plan.k, plan.variance, dead)
        if not loss < float("inf"):
            raise StageError(
                f"dictionary loss is {loss} at step {step}: lower diff.learning_rate "
                f"({plan.learning_rate}) or check the activations"
            )
        topk.tangent(weights, grads)
        for name, tensor in weights.items():
            tensor.grad = grads[name]
        adam.param_groups[0]["lr"] = plan.learning_rate * ramp(step, plan.steps)
        adam.step()
        topk.unit_rows(weights)
        idle = torch.where(fired, 0, idle + plan.batch)
        if step % max(plan.steps // 50, 1) == 0 or step == plan.steps - 1:
            note(step, loss, float(dead.float().mean()))
        if checkpoint and (step % KEEP_EVERY == KEEP_EVERY - 1 or step == plan.steps - 1):
            _keep(checkpoint, weights, adam, idle, step + 1, loss)
    return {name: tensor.detach().clone() for name, tensor in weights.items()}, loss


def batches(n: int, plan: Plan, first: int = 0) -> Iterator[tuple[int, Tensor]]:
    """Step numbers from `first` on, each with its rows [batch] of n.

    A fresh permutation each epoch; what does not fill a batch at its end is left out.
    """
    per_epoch = n // plan.batch
    rows = None
    for step in range(first, plan.steps):
        epoch, place = divmod(step, per_epoch)
        if rows is None or place == 0:
            generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + epoch)
            rows = torch.randperm(n, generator=generator)
        yield step, rows[place * plan.batch : (place + 1) * plan.batch]


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


def _keep(
    path: Path,
    weights: topk.Weights,
    adam: torch.optim.Adam,
    idle: Tensor,
    step: int,
    loss: float,
) -> None:
    state = {f"weights.{name}": tensor.detach() for name, tensor in weights.items()}
    for name, tensor in weights.items():
        state |= {f"adam.{key}.{name}": value for key, value in adam.state[tensor].items()}
    state = {name: tensor.contiguous() for name, tensor in (state | {"idle": idle}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    save_file(state, beside, {"step": str(step), "loss": loss.hex()})
    os.replace(beside, path)


def _restore(
    path: Path | None, weights: topk.Weights, adam: torch.optim.Adam, idle: Tensor
) -> tuple[int, float]:
    """Bring a kept state into weights, adam and idle; its number of steps and its last loss."""
    if not (first := done(path)):
        return 0, float("nan")
    with safe_open(path, "pt") as file:
        for name, tensor in weights.items():
            tensor.copy_(file.get_tensor(f"weights.{name}"))
            adam.state[tensor] = {
                key: file.get_tensor(f"adam.{key}.{name}")
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
        idle.copy_(file.get_tensor("idle"))
        return first, float.fromhex(file.metadata()["loss"])
