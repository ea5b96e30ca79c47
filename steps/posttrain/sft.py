"""Supervised fine-tuning: the negative log-likelihood of reference responses, by TRL's trainer.

With `items: stage1` it is the arm `continue`: the base's own stage 1 gone on with on fresh items,
for as many steps on as many items as the arm that learns from the pairs' references. With `targets:
sampled` it is rejection-sampling fine-tuning, for as many steps.
"""

from pathlib import Path
from typing import Any

import numpy as np

from steps.posttrain import budget, controls, history, loop, questions, save, settings


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Stage `sft`: train on prompts and reference responses, write the model and its metrics."""
    from trl import SFTConfig, SFTTrainer

    from steps.posttrain.sighted import SightedTrainer, patches

    told, train = params.sft, params.train
    items = questions.kept(inputs["pairs"])
    if told.items != "train":
        items = questions.table(inputs["items"], told.items, len(items))
    count = len(items)
    items = controls.images(controls.targets(items, told.targets), told.images, params.run.seed)
    steps = questions.steps(count, told.epochs, train.batch)
    sequence = questions.order(len(items), steps * train.batch, params.run.seed)
    model, processor = save.begin(inputs["base"], told.parts)
    with loop.workplace(params.run) as folder:
        args = SFTConfig(
            **settings.shared(train, params.run, folder, steps, told.learning_rate),
            **settings.batches(train.batch, train.micro_batch),
            loss_type="nll",
            completion_only_loss=True,  # neither the question nor the image's placeholders
            assistant_only_loss=False,
            max_length=None,  # a cut could go through an image's tokens
            packing=False,
            padding_free=False,
            activation_offloading=False,
        )
        columns = {"completion": [questions.said(text) for text in items["response"]]}
        options: dict[str, Any] = {}
        if told.patch_loss:
            maps = np.load(inputs["items"] / "train_shape.npy", allow_pickle=False)
            true = patches(maps, model.config.vision_config.patch_size)
            columns["patches"] = list(true[items["image"]])
            options = {"classes": int(maps.max()) + 1, "weight": told.patch_loss}
        images = inputs["items"] / f"{told.items}_images.npy"
        trainer = (SightedTrainer if told.patch_loss else SFTTrainer)(
            model=model,
            args=args,
            train_dataset=questions.dataset(items, images, sequence, **columns),
            processing_class=processor,
            **options,
        )
        points = loop.fit(trainer, params.run, "sft.learning_rate")
    read = budget.lengths(
        processor, model.config.image_seq_length, list(items["prompt"]), list(items["response"])
    )
    trained = budget.Passes(int(read[sequence].sum()), len(sequence))
    moved = save.finish(model, inputs, out)
    settings.write(args, out)
    history.write(points, out)
    return {
        **history.ends(points),
        **budget.spent(model, steps, trained),
        **moved,
    }
