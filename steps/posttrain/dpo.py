"""Direct preference optimisation (Rafailov et al. 2023, 2305.18290, equation 7), by TRL's trainer.

The reference response of each item against the base's own wrong answer to it. The reference model,
which is asked once about each pair (`steps.posttrain.reference`), is the one that training starts
from: the base or, where `sft_epochs` says so, what supervised fine-tuning on the same items makes
of it first.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from steps import ranks
from steps.models.grouped import grouped
from steps.posttrain import (
    adapters,
    budget,
    controls,
    history,
    loop,
    questions,
    save,
    settings,
    sft,
)

HALVES = ("chosen", "rejected")
LOSSES = {"dpo": {"sigmoid": 1.0}, "mpo": {"sigmoid": 0.8, "bco_pair": 0.2, "sft": 1.0}}
"""TRL's terms of each objective and their weights; MPO's are InternVL's (2411.10442)."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Stage `dpo`: train on the pairs, write the model and its metrics."""
    return ranks.spread(train, params, inputs, out)


def train(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """What each of the stage's processes does; the first gives metrics."""
    from steps.posttrain.reference import OnceTrainer

    told, alike = params.dpo, params.train
    items = questions.kept(inputs["pairs"])
    steps = questions.steps(len(items), told.epochs, alike.batch)
    sequence = questions.order(len(items), steps * alike.batch, params.run.seed)
    items["rejected"] = controls.rejected(items, told.rejected, params.run.seed)
    model, processor = save.begin(inputs["base"], told.parts)
    before, read = _tuned(model, processor, items, params, inputs)

    def rows(numbers: np.ndarray, use: str, **columns: Any) -> Any:
        halves = {name: [questions.said(text) for text in items[name]] for name in HALVES}
        images = inputs["items"] / "train_images.npy"
        return questions.dataset(items, images, numbers, use, **halves, **columns)

    with ranks.workplace(params.run) as folder, grouped(model):
        lora = adapters.config(alike.lora, model, told.parts)
        reference = None  # of adapters, it is the model without them
        if lora is None:
            reference = save.begin(inputs["base"])[0].eval().requires_grad_(False)
            reference.load_state_dict(model.state_dict())
        trainer = OnceTrainer(
            model=model,
            ref_model=reference,
            args=arguments(params, folder, steps),
            train_dataset=rows(sequence, use="train"),
            processing_class=processor,
            peft_config=lora,
        )
        with nullcontext() if reference is None else grouped(reference):
            trainer.refer(rows, sequence, params.run.checkpoints)
        reference = None
        points = loop.fit(trainer, params.run, "dpo.learning_rate", rates=params.train.rates)
    cost = _cost(model, processor, items, sequence, before + steps, read)
    moved = save.finish(trainer, inputs, out)
    if not ranks.main():
        return {}
    settings.write(trainer.args, out)
    history.write(points, out)
    return {**history.ends(points), **cost, **moved}


def arguments(params: Any, folder: Path, steps: int) -> Any:
    """The DPOConfig of a run."""
    from trl import DPOConfig

    told, alike = params.dpo, params.train
    return DPOConfig(
        **settings.shared(alike, params.run, folder, steps, told.learning_rate),
        **settings.batches(alike.batch, alike.micro_batch, alike.processes),
        loss_type=list(LOSSES[told.loss]),
        loss_weights=list(LOSSES[told.loss].values()),
        beta=told.beta,
        label_smoothing=0.0,
        f_divergence_type="reverse_kl",
        use_weighting=False,
        ld_alpha=None,
        sync_ref_model=False,
        precompute_ref_log_probs=False,  # TRL does not for images: see `reference`
        disable_dropout=True,
        max_length=None,  # a cut could go through an image's tokens
        padding_free=False,
        activation_offloading=False,
    )


def _cost(
    model: Any, processor: Any, items: Any, sequence: np.ndarray, steps: int, read: budget.Passes
) -> dict[str, float]:
    """The budget; read: what fine-tuning before it has read. The reference reads each pair once."""
    texts = (list(items[name]) for name in ("prompt", *HALVES))
    tokens = budget.paired(processor, model.config.image_seq_length, *texts)
    both = budget.Passes(int(tokens[sequence].sum()), len(sequence))
    once = np.unique(sequence)
    asked = budget.Passes(int(tokens[once].sum()), len(once))
    return budget.spent(model, steps, trained=read + both, reference=asked)


def _tuned(
    model: Any, processor: Any, items: Any, params: Any, inputs: dict[str, Path]
) -> tuple[int, budget.Passes]:
    """Fine-tune `model` on the chosen answers first, where told to; the steps and what was read."""
    told, alike, run = params.dpo, params.train, params.run
    if not told.sft_epochs:
        return 0, budget.NOTHING
    steps = questions.steps(len(items), told.sft_epochs, alike.batch)
    if run.checkpoints is not None:
        run = replace(run, checkpoints=run.checkpoints / "sft")
    images = inputs["items"] / "train_images.npy"
    own = SimpleNamespace(train=alike, run=run)
    names = {"key": "dpo.sft_rate", "name": "sft"}
    _, trainer, read = sft.fit(
        model, processor, items, images, steps, told.sft_rate, own, told.parts, **names
    )
    adapters.merged(trainer.model)
    save.trainable(model, told.parts)  # as it was before adapters froze it
    return steps, read
