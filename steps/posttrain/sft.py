"""Supervised fine-tuning: the negative log-likelihood of reference responses, by TRL's trainer.

With `items: stage1` it is the arm `continue`: the base's own stage 1 gone on with on fresh items,
for as many steps on as many items as the arm that learns from the pairs' references. With `targets:
sampled` it is rejection-sampling fine-tuning, for as many steps.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps import ranks
from steps.models import families
from steps.posttrain import adapters, budget, controls, history, loop, questions, save, settings


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Stage `sft`: train on prompts and reference responses, write the model and its metrics."""
    return ranks.spread(train, params, inputs, out)


def train(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """What each of the stage's processes does; the first gives metrics."""
    told = params.sft
    items = questions.kept(inputs["pairs"])
    if told.items != "train":
        items = questions.table(inputs["items"], told.items, len(items))
    steps = questions.steps(len(items), told.epochs, params.train.batch)
    items = controls.images(controls.targets(items, told.targets), told.images, params.run.seed)
    model, processor = save.begin(inputs["base"], told.parts)
    maps = None
    if told.patch_loss:
        maps = np.load(inputs["items"] / "train_maps.npy", allow_pickle=False)[items["image"]]
    images = inputs["items"] / f"{told.items}_images.npy"
    points, trainer, read = fit(
        model,
        processor,
        items,
        images,
        steps,
        told.learning_rate,
        params,
        told.parts,
        maps,
        told.patch_loss,
    )
    cost = budget.spent(model, steps, read)
    moved = save.finish(trainer, inputs, out)
    if not ranks.main():
        return {}
    settings.write(trainer.args, out)
    history.write(points, out)
    return {**history.ends(points), **cost, **moved}


def fit(
    model: Any,
    processor: Any,
    items: pd.DataFrame,
    images: Path,
    steps: int,
    rate: float,
    params: Any,
    parts: Sequence[str],
    maps: np.ndarray | None = None,
    patch_loss: float = 0.0,
    key: str = "sft.learning_rate",
    name: str = "train",
) -> tuple[list[dict[str, float]], Any, budget.Passes]:
    """Train `model` for `steps` steps on `items`; returns points, the trainer and what it read.

    images: the array that items' images are in. parts: those that are trained. maps uint8
    [N, H, W]: what fills each pixel of them, for a patch_loss. params: the sections train and run.
    key, name: as `loop.fit` has them.
    """
    from trl import SFTTrainer

    from steps.models import load
    from steps.posttrain.sighted import SightedTrainer, patches, readout

    train = params.train
    sequence = questions.order(len(items), steps * train.batch, params.run.seed)
    with ranks.workplace(params.run) as folder:
        args = arguments(params, folder, steps, rate)
        columns = {"completion": [questions.said(text) for text in items["response"]]}
        options: dict[str, Any] = {}
        if maps is not None:
            families.only(model, "sft.patch_loss")
            true = patches(maps, model.config.vision_config.patch_size)
            see, rows = load.reader(processor.image_processor), items["image"].to_numpy()
            shown = np.load(images, mmap_mode="r", allow_pickle=False)
            told = readout(model, lambda some: see(shown[rows[some]]), true)
            columns["patches"], options = list(true), {"readout": told, "weight": patch_loss}
        trainer = (SFTTrainer if maps is None else SightedTrainer)(
            model=model,
            args=args,
            train_dataset=questions.dataset(items, images, sequence, **columns),
            processing_class=processor,
            peft_config=adapters.config(train.lora, model, parts),
            **options,
        )
        points = loop.fit(trainer, params.run, key, name, train.rates)
    read = budget.lengths(
        processor, model.config.image_seq_length, list(items["prompt"]), list(items["response"])
    )
    return points, trainer, budget.Passes(int(read[sequence].sum()), len(sequence))


def arguments(params: Any, folder: Path, steps: int, rate: float) -> Any:
    """The SFTConfig of a run; params: the sections train and run."""
    from trl import SFTConfig

    alike = params.train
    return SFTConfig(
        **settings.shared(alike, params.run, folder, steps, rate),
        **settings.batches(alike.batch, alike.micro_batch, alike.processes),
        loss_type="nll",
        completion_only_loss=True,  # neither the question nor the image's placeholders
        assistant_only_loss=False,
        max_length=None,  # a cut could go through an image's tokens
        packing=False,
        padding_free=False,
        activation_offloading=False,
    )
