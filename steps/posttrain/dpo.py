"""Direct preference optimisation (Rafailov et al. 2023, 2305.18290, equation 7), by TRL's trainer.

The reference response of each item against the base's own wrong answer to it; the reference model
is the base.
"""

from pathlib import Path
from typing import Any

from steps.posttrain import budget, controls, history, loop, questions, save, settings

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
    reference, _ = save.begin(inputs["base"])
    with loop.workplace(params.run) as folder:
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
    size, asked = model.config.image_seq_length, list(items["prompt"])
    better = budget.lengths(processor, size, asked, list(items["chosen"]))
    worse = budget.lengths(processor, size, asked, list(items["rejected"]))
    both = budget.Passes(int((better + worse)[sequence].sum()), 2 * len(sequence))
    moved = save.finish(model, inputs, out)
    settings.write(args, out)
    history.write(points, out)
    return {
        **history.ends(points),
        **budget.spent(model, steps, trained=both, reference=both),
        **moved,
    }
