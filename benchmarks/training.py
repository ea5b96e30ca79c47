"""What our layer over TRL's trainers costs a step of supervised fine-tuning and of DPO.

python benchmarks/training.py [--study smoke] [--steps 8] [--rounds 5]

Trains the bundled base in turns, on the same questions and under the same arguments: by TRL's
trainer as it is, and as the stage does it (checkpoints off, everything else on: items in our order,
the guard against what is not finite, the event log, and for DPO a reference that is asked once and
pairs whose image and question are read once). Needs a finished study. Goals: sft_overhead_vs_trl
and dpo_overhead_vs_trl, the share by which a step is longer, at most 0.05.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import tell


class Study:
    """One seed of a finished study, as the stages `sft` and `dpo` read it."""

    def __init__(self, name: str) -> None:
        from steps.params import Run
        from steps.posttrain import questions
        from steps.study.plan import plan

        found = plan(name or None)
        results, base = Path(found.results), next(iter(found.params.bases))
        seed = found.params.seeds[0]
        self.train, self.dpo = found.params.train, found.params.dpo
        self.run = Run("benchmark", "training", base, "arm", seed)
        self.base = results / "base" / base
        self.items = questions.kept(results / "pairs" / base / f"seed{seed}")
        self.images = results / "items" / f"seed{seed}" / "train_images.npy"

    def sft(self, steps: int, ours: bool, folder: Path) -> Callable[[], Any]:
        """What trains for `steps` steps, ready to be timed."""
        from trl import SFTTrainer

        from steps.posttrain import loop, questions, save, sft

        model, processor = save.begin(self.base)
        order = questions.order(len(self.items), steps * self.train.batch, self.run.seed or 0)
        said = [questions.said(text) for text in self.items["response"]]
        trainer = SFTTrainer(
            model=model,
            args=sft.arguments(self, folder, steps, 1e-4),
            train_dataset=questions.dataset(self.items, self.images, order, completion=said),
            processing_class=processor,
        )
        return lambda: loop.fit(trainer, self.run, "sft.learning_rate") if ours else trainer.train()

    def pairs(self, steps: int, ours: bool, folder: Path) -> Callable[[], Any]:
        """The same for DPO; the reference is asked within the time."""
        from trl import DPOTrainer

        from steps.models.grouped import grouped
        from steps.posttrain import dpo, loop, questions, save
        from steps.posttrain.reference import OnceTrainer

        order = questions.order(len(self.items), steps * self.train.batch, self.run.seed or 0)
        model, processor = save.begin(self.base)
        other = save.begin(self.base)[0].eval().requires_grad_(False)

        def rows(numbers: Any, use: str, **columns: Any) -> Any:
            halves = {n: [questions.said(t) for t in self.items[n]] for n in dpo.HALVES}
            return questions.dataset(self.items, self.images, numbers, use, **halves, **columns)

        trainer = (OnceTrainer if ours else DPOTrainer)(
            model=model,
            ref_model=other,
            args=dpo.arguments(self, folder, steps),
            train_dataset=rows(order, use="train"),
            processing_class=processor,
        )

        def trained() -> None:
            with grouped(model), grouped(other):
                trainer.refer(rows, order, None)
                loop.fit(trainer, self.run, "dpo.learning_rate")

        return trained if ours else trainer.train


def overhead(make: Callable[..., Any], steps: int, rounds: int, name: str) -> float:
    """By which share a step of ours is longer, median over pairs of runs in turn."""
    ratios = []
    for number in range(rounds + 1):  # the first warms up
        walls = {}
        for ours in (False, True) if number % 2 else (True, False):
            with tempfile.TemporaryDirectory() as folder:
                train = make(steps, ours, Path(folder))
                began = time.perf_counter()
                train()
                walls[ours] = (time.perf_counter() - began) / steps
        if number:
            ratios.append(walls[True] / walls[False])
            print(f"{name}: TRL {1000 * walls[False]:.0f} ms a step, ours {ratios[-1]:.3f} of it")
    return statistics.median(ratios) - 1


def main() -> None:
    """Time both, and say how far over TRL they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", default="smoke")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ["SIGHTLINE_MIRROR"] = "off"
    study = Study(options.study)
    found = {
        "sft_overhead_vs_trl": overhead(study.sft, options.steps, options.rounds, "sft"),
        "dpo_overhead_vs_trl": overhead(study.pairs, options.steps, options.rounds, "dpo"),
    }
    for name, value in found.items():
        print(f"{name}: {value:+.3f} ({'met' if value <= 0.05 else 'NOT MET'}: at most +0.050)")
    tell(study=options.study, goal=0.05, **found)


if __name__ == "__main__":
    main()
