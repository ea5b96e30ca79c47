"""What our layer around TRL's trainer costs a training step.

python benchmarks/step.py [--study smoke] [--steps 30] [--rounds 3]

Trains the same model on the same items with TRL's trainer as it is and as the stages run it (guard,
resume, event log, images from an array), in turns. Needs a finished study. Goal: 5 % of a step.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import tell


def train(study: str, steps: int, ours: bool) -> float:
    """Seconds a step of `steps` steps of SFT: with our layer, or TRL's trainer alone."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from steps import track
    from steps.params import Run
    from steps.posttrain import loop, questions, save, settings
    from steps.study.plan import plan

    found = plan(study or None)
    results, params, seed = Path(found.results), found.params, found.params.seeds[0]
    base = next(iter(params.bases))
    items = questions.kept(results / "pairs" / base / f"seed{seed}")
    images = results / "items" / f"seed{seed}" / "train_images.npy"
    sequence = questions.order(len(items), steps * params.train.batch, seed)
    model, processor = save.begin(results / "base" / base)
    said = [questions.said(text) for text in items["response"]]
    with tempfile.TemporaryDirectory() as folder:
        run = Run(params.study.name, "sft", base, "sft", seed, 1, Path(folder) / "checkpoints")
        if ours:
            track.start(Path(folder), params.study.name, "sft", base, "sft", seed, {})
            data: Any = questions.dataset(items, images, sequence, completion=said)
        else:
            data = Dataset.from_list(plain(items, images, said, sequence))
        args = SFTConfig(
            **settings.shared(params.train, run, Path(folder), steps, 1e-5),
            **settings.batches(params.train.batch, params.train.micro_batch),
            max_length=None,
        )
        trainer = SFTTrainer(model=model, args=args, train_dataset=data, processing_class=processor)
        started = time.perf_counter()
        if ours:
            loop.fit(trainer, run, "sft.learning_rate")
        else:
            trainer.train()
        return (time.perf_counter() - started) / steps


def plain(items: Any, images: Path, said: list, sequence: Any) -> list[dict[str, Any]]:
    """The same rows as a user would hand them to TRL: images decoded and in memory."""
    import numpy as np
    from PIL import Image

    from steps.posttrain import questions

    shown = np.load(images, mmap_mode="r", allow_pickle=False)
    rows = [
        {
            "prompt": questions.asked(row.prompt),
            "completion": answer,
            "image": Image.fromarray(np.array(shown[row.image])),
        }
        for row, answer in zip(items.itertuples(), said, strict=True)
    ]
    return [rows[i] for i in sequence]


def main() -> None:
    """Measure in turns, print lines for people and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--study", default="", help="an overlay; default: params.yaml as it is")
    parser.add_argument("--steps", type=int, default=30, help="optimiser steps a run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the median counts")
    options = parser.parse_args()
    os.environ["SIGHTLINE_MIRROR"] = "off"
    found: dict[str, list[float]] = {"trl": [], "ours": []}
    for _ in range(options.rounds):
        for name, seconds in found.items():
            seconds.append(train(options.study, options.steps, name == "ours"))
    wall = {name: statistics.median(seconds) for name, seconds in found.items()}
    cost = wall["ours"] / wall["trl"] - 1
    print(
        f"TRL alone {1000 * wall['trl']:.0f} ms a step, as the stages run it "
        f"{1000 * wall['ours']:.0f} ms: {100 * cost:+.1f} % (goal at most 5 %)"
    )
    tell(study=options.study or "default", steps=options.steps, wall_s=wall, cost=cost)


if __name__ == "__main__":
    main()
