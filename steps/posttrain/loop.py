"""What runs around a TRL trainer: resume, complete checkpoints, a guard for NaN, the event log."""

import logging
import math
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback

from steps import halt, ranks
from steps.params import Run
from steps.posttrain.budget import PARTS, part
from steps.stage import StageError
from steps.track import log

KEEP = 2
"""Complete checkpoints kept: an orphan of a killed engine may still put its own in place."""


def fit(
    trainer: Any, run: Run, key: str, name: str = "train", rates: Any = None
) -> list[dict[str, float]]:
    """Train, from the newest complete checkpoint where there is one; returns the logged points.

    A resumed run gives the weights and points of an undisturbed one bit for bit: the checkpoint
    holds the state of every random generator and the points so far, and items come in a fixed
    order. key: the params key to name where the training diverges. name: what its curves are
    called in the event log. rates: what the learning rate is multiplied by for each part, in the
    attributes tower, projector and language. Raises StageError at a loss or gradient that is not
    finite.
    """
    _still(trainer.model)
    # TRL asks by a name that transformers is about to change; it is no concern of a user's.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
    last = newest(run.checkpoints)
    if last is not None:
        log.resume(_step(last))
        # It says that keys are missing; see `on_train_begin`.
        logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    if rates is not None:
        _by_part(trainer, rates)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Watch(run.checkpoints, key, last, name))
    trainer.train(resume_from_checkpoint=str(last) if last is not None else None)
    return [point for point in trainer.state.log_history if "loss" in point]


def _by_part(trainer: Any, rates: Any) -> None:
    """Give the parts of a trainer's model learning rates of their own, where these differ from 1.

    Its groups of weights are split by part as soon as the optimiser is made, before its schedule
    is, which multiplies each group's own rate.
    """
    make = trainer.create_optimizer

    def made(model: Any = None) -> Any:
        fresh, optimiser = trainer.optimizer is None, make(model)
        named = (trainer.model if model is None else model).named_parameters()
        owner = {id(weights): part(name) for name, weights in named}
        if fresh:
            optimiser.param_groups[:] = [
                {**group, "params": own, "lr": group["lr"] * getattr(rates, name)}
                for group in optimiser.param_groups
                for name in PARTS
                if (own := [weights for weights in group["params"] if owner[id(weights)] == name])
            ]
        return optimiser

    if any(getattr(rates, name) != 1 for name in PARTS):
        trainer.create_optimizer = made


def newest(folder: Path | None) -> Path | None:
    """The checkpoint of the latest step in `folder`; what has its name is complete."""
    found = folder.glob("step-*") if folder is not None else ()
    return max(found, key=_step, default=None)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


class Watch(TrainerCallback):
    """Stops at what is not finite, puts checkpoints in place and tells the event log."""

    def __init__(
        self,
        checkpoints: Path | None,
        key: str,
        resumed: Path | None = None,
        name: str = "train",
    ) -> None:
        self.checkpoints, self.key, self.resumed, self.name = checkpoints, key, resumed, name

    def on_train_begin(self, args, state, control, model=None, **_) -> None:
        """Read the weights of the checkpoint that is gone on from.

        Trainer of transformers 5.23 writes a LLaVA's weights under their old names and reads them
        under the new ones: it finds none, warns, and would train on from the base's weights.
        Adapters and sharded weights have no old names.
        """
        if self.resumed is not None and (self.resumed / "config.json").is_file():
            kept = type(model).from_pretrained(self.resumed, dtype=model.dtype)
            model.load_state_dict(kept.state_dict(), strict=True)

    def on_pre_optimizer_step(self, args, state, control, model=None, **_) -> None:
        """Before weights could be spoilt: a loss that is not finite has such a gradient."""
        import torch

        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # where it is sharded
        self._finite("gradient", norm.item(), state)

    def on_step_end(self, args, state, control, **_) -> Any:
        """Log at each checkpoint and at the end, so that a resumed curve has the same points."""
        saves = args.save_strategy == "steps" and state.global_step % args.save_steps == 0
        if saves or state.global_step >= state.max_steps:
            control.should_log = True
        return control

    def on_log(self, args, state, control, logs=None, **_) -> None:
        """One point of each curve; a line where there is no progress bar."""
        if not logs or "loss" not in logs:
            return  # the summary that ends a training holds times, which belong to the record
        self._finite("loss", logs["loss"], state)
        values = {k: v for k, v in logs.items() if isinstance(v, (int, float)) and k != "epoch"}
        named = {f"{self.name}/{k}": v for k, v in values.items() if v == v}
        log.metrics(named, state.global_step)
        if args.disable_tqdm and ranks.main():
            told = [f"{k} {values[k]:.4g}" for k in ("loss", "reward", "grad_norm") if k in values]
            print(f"step {state.global_step}/{state.max_steps}", *told, file=sys.stderr)

    def on_save(self, args, state, control, **_) -> None:
        """Rename a checkpoint, once it is whole, to the name that `newest` looks for.

        Raises Halted there when time is nearly up.
        """
        if self.checkpoints is None:
            return
        ranks.wait()  # each process writes a part
        if ranks.main():
            self._place(args, state, self.checkpoints)
        ranks.wait()
        # All processes together: notice does not reach each of them before the same step.
        if state.global_step < state.max_steps and not ranks.every(not halt.near(), args.device):
            raise halt.Halted

    def _place(self, args: Any, state: Any, checkpoints: Path) -> None:
        written = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        place = checkpoints / f"step-{state.global_step}"
        try:
            written.rename(place)
        except OSError:  # another process with the same parameters and code has put it there
            shutil.rmtree(written)
        for old in sorted(checkpoints.glob("step-*"), key=_step)[:-KEEP]:
            shutil.rmtree(old, ignore_errors=True)

    def _finite(self, what: str, value: float, state: Any) -> None:
        if not math.isfinite(value):
            raise StageError(
                f"the {what} is {value} at step {state.global_step + (what == 'gradient')}: "
                f"lower {self.key}"
            )


def _still(model: Any) -> None:
    """No dropout anywhere: TRL turns it off for some methods only."""
    for module in model.modules():
        if type(module).__name__.startswith("Dropout"):
            module.p = 0.0
        for name in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
