"""DPO against a reference that is asked once: log-probabilities of all pairs before training.

TRL's trainer either keeps the reference model for the whole of training, twice the weights, or
asks it beforehand, which it does not do for data with images. Here its own method is asked
beforehand, and the answers are kept with the checkpoints, so that a resumed run asks no more.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl import DPOTrainer

from steps import ranks

NAMES = ("ref_chosen_logps", "ref_rejected_logps")


class Referred:
    """A collator of pairs that hands on what their reference said of them."""

    def __init__(self, collate: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self.collate = collate

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch, and where examples have them, log-probabilities [pairs] by their names."""
        told = {
            name: torch.tensor([example.pop(name) for example in examples])
            for name in NAMES
            if name in examples[0]
        }
        return {**self.collate(examples), **told}


class OnceTrainer(DPOTrainer):
    """TRL's trainer, whose reference is asked once, by `refer`, and then let go."""

    def refer(self, rows: Callable[..., Any], sequence: np.ndarray, kept: Path | None) -> None:
        """Ask the reference about each pair of `sequence`, and train on them with its answers.

        rows: makes a data set of pairs from their numbers, their use and columns with a value a
        pair. kept: a folder for the answers, where they may be already.
        """
        told = self._read(kept)
        if told is None:
            told = self._asked(rows(np.unique(sequence), use="reference"))
            self._write(kept, told)
        self.data_collator = Referred(self.data_collator)
        columns = {name: np.zeros(sequence.max() + 1, np.float32) for name in NAMES}
        for name, values in told.items():
            columns[name][np.unique(sequence)] = values.numpy()
        self.train_dataset = rows(sequence, use="train", **columns)
        self.precompute_ref_logps, self.ref_model = True, None

    def _asked(self, data: Any) -> dict[str, Tensor]:
        """Log-probabilities [pairs] of chosen and rejected answers; each process asks for a share.

        Where weights are sharded all have to ask equally often, so that a short share goes on
        with rows of another's.
        """
        count, size = len(data), self.args.per_device_train_batch_size
        share = -(-count // (size * ranks.count())) * size
        place, first = self.accelerator, self.accelerator.process_index * share
        model = self.ref_model or self.model.to(place.device)
        parts: dict[str, list[Tensor]] = {name: [] for name in NAMES}
        for start in range(first, first + share, size):
            batch = self.data_collator([data[i % count] for i in range(start, start + size)])
            batch = {name: value.to(place.device) for name, value in batch.items()}
            told = self.compute_ref_log_probs(model, batch)
            for name, values in zip(NAMES, told, strict=True):
                parts[name].append(values.float())
        whole = {name: place.gather(torch.cat(values)) for name, values in parts.items()}
        return {name: values[:count].cpu() for name, values in whole.items()}

    @staticmethod
    def _read(kept: Path | None) -> dict[str, Tensor] | None:
        from safetensors.torch import load_file

        path = kept and kept / "reference.safetensors"
        return load_file(path) if path and path.is_file() else None

    @staticmethod
    def _write(kept: Path | None, found: dict[str, Tensor]) -> None:
        from safetensors.torch import save_file

        from steps.place import private

        if kept is not None and ranks.main():
            half = private(kept / "reference.safetensors")
            save_file(found, half)
            half.replace(kept / "reference.safetensors")
        ranks.wait()
