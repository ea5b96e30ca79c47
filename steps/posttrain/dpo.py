"""Direct preference optimisation (Rafailov et al. 2023, 2305.18290, equation 7), by TRL's trainer.

The reference response of each item against the base's own wrong answer to it; the reference model
is the one that training starts from: the base or, where `sft_epochs` says so, what supervised
fine-tuning on the same items makes of it first.
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from steps.models.grouped import grouped
from steps.posttrain import budget, controls, history, loop, questions, save, settings, sft

LOSSES = {"dpo": {"sigmoid": 1.0}, "mpo": {"sigmoid": 0.8, "bco_pair": 0.2, "sft": 1.0}}
"""TRL's terms of each objective and their weights; MPO's are InternVL's (2411.10442)."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Stage `dpo`: train on the pairs, write the model and its metrics."""
    from trl import DPOConfig, DPOTrainer

    told, train = params.dpo, params.train
    items = questions.kept(inputs["pairs"])
    steps = questions.steps(len(items), told.epochs, train.batch)
    sequence = questions.order(len(items), steps * train.batch, params.run.seed)
    items["rejected"] = controls.rejected(items, told.rejected, params.run.seed)
    model, processor = save.begin(inputs["base"], told.parts)
    before, read = _tuned(model, processor, items, params, inputs)
    reference, _ = save.begin(inputs["base"])
    reference.load_state_dict(model.state_dict())
    with loop.workplace(params.run) as folder, grouped(model), grouped(reference):
        args = DPOConfig(
            **settings.shared(train, params.run, folder, steps, told.learning_rate),
            **settings.batches(train.batch, train.micro_batch),
            loss_type=list(LOSSES[told.loss]),
            loss_weights=list(LOSSES[told.loss].values()),
            beta=told.beta,
            label_smoothing=0.0,
            f_divergence_type="reverse_kl",
            use_weighting=False,
            ld_alpha=None,
            sync_ref_model=False,
            precompute_ref_log_probs=False,
            disable_dropout=True,
            max_length=None,  # a cut could go through an image's tokens
            padding_free=False,
            activation_offloading=False,
        )
        trainer = DPOTrainer(
            model=model,
            ref_model=reference.eval().requires_grad_(False),
            args=args,
            train_dataset=questions.dataset(
                items,
                inputs["items"] / "train_images.npy",
                sequence,
                chosen=[questions.said(text) for text in items["chosen"]],
                rejected=[questions.said(text) for text in items["rejected"]],
            ),
            processing_class=processor,
        )
        points = loop.fit(trainer, params.run, "dpo.learning_rate")
    texts = (list(items[name]) for name in ("prompt", "chosen", "rejected"))
    tokens = budget.paired(processor, model.config.image_seq_length, *texts)
    both = budget.Passes(int(tokens[sequence].sum()), len(sequence))
    moved = save.finish(model, inputs, out)
    settings.write(args, out)
    history.write(points, out)
    return {
        **history.ends(points),
        **budget.spent(model, before + steps, trained=read + both, reference=both),
        **moved,
    }


def _tuned(
    model: Any, processor: Any, items: Any, params: Any, inputs: dict[str, Path]
) -> tuple[int, budget.Passes]:
    """Fine-tune `model` on the chosen answers first, where told to; the steps and what was read."""
    told, train, run = params.dpo, params.train, params.run
    if not told.sft_epochs:
        return 0, budget.NOTHING
    steps = questions.steps(len(items), told.sft_epochs, train.batch)
    if run.checkpoints is not None:
        run = replace(run, checkpoints=run.checkpoints / "sft")
    images = inputs["items"] / "train_images.npy"
    own = SimpleNamespace(train=train, run=run)
    names = {"key": "dpo.sft_rate", "name": "sft"}
    _, _, read = sft.fit(model, processor, items, images, steps, told.sft_rate, own, **names)
    return steps, read
