"""What our GRPO costs beside TRL's own.

python benchmarks/grpo.py [--study smoke] [--steps 6] [--rounds 3]

Trains the bundled base in turns on the same questions: by TRL's trainer as it is, by TRL's trainer
with our sampling (the image and the prompt read once for a group), by ours with the rule `uniform`,
and as the stage runs it, with updates that read these once too. Needs a finished study. Goals:
ratio_vs_trl (speed on the same samples and loss) at least 0.95; a step with our sampling at least
1.3 times as fast, with the very same answers at a seed.
"""

import argparse
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from timing import tell


class Study:
    """One seed of a finished study, as the stage `grpo` reads it."""

    def __init__(self, name: str) -> None:
        from steps.posttrain import questions
        from steps.study.plan import plan

        found = plan(name or None)
        results, self.params = Path(found.results), found.params
        self.seed, base = self.params.seeds[0], next(iter(self.params.bases))
        self.base = results / "base" / base
        self.items = questions.kept(results / "pairs" / base / f"seed{self.seed}")
        self.images = results / "items" / f"seed{self.seed}" / "train_images.npy"

    def trainer(
        self, steps: int, rule: str | None, ours: bool, folder: Path, packs: ExitStack | None = None
    ) -> Any:
        """A trainer for `steps` steps: with a rule, or TRL's own; with our sampling or TRL's.

        packs: what is to close the context in which updates read a question once, if they do.
        """
        from trl import GRPOTrainer

        from steps.models.grouped import grouped
        from steps.params import Run
        from steps.posttrain import grpo, questions, rewards, rollouts, save
        from steps.posttrain.credit.trainer import CreditTrainer

        class Told:
            train = self.params.train
            grpo = self.params.grpo.model_copy(
                update={"steps": steps, "credit": rule or "uniform", "measure_every": 0}
            )
            run = Run("benchmark", "grpo", "base", "grpo", self.seed)

        told: Any = Told
        sequence = questions.order(len(self.items), steps * told.grpo.prompts, self.seed)
        model, processor = save.begin(self.base)
        options: dict[str, Any] = {"rollout_func": rollouts.rollouts} if ours else {}
        kind = GRPOTrainer if rule is None else CreditTrainer
        options |= {} if rule is None else {"told": told.grpo}
        if packs is not None:
            options["reads"] = packs.enter_context(grouped(model))
        return kind(
            model=model,
            reward_funcs=rewards.correctness,
            args=grpo.arguments(told, folder),
            train_dataset=grpo.dataset(self.items, self.images, sequence),
            processing_class=processor,
            **options,
        )


Way = tuple[str | None, bool, bool]
"""A rule or None for TRL's own trainer, whether sampling is ours, and whether updates are."""


def step(study: Study, steps: int, way: Way) -> tuple[float, float]:
    """Seconds a step, and the sum of the final weights, equal where training was the same."""
    rule, ours, packs = way
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        trainer = study.trainer(steps, rule, ours, Path(folder), stack if packs else None)
        started = time.perf_counter()
        trainer.train()
        wall = (time.perf_counter() - started) / steps
        return wall, sum(float(p.detach().double().sum()) for p in trainer.model.parameters())


def compare(
    study: Study, ways: dict[str, Way], steps: int, rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds a step of each way, run in turns, and `step`'s sums."""
    walls: dict[str, list[float]] = {name: [] for name in ways}
    ends: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            wall, ends[name] = step(study, steps, way)
            walls[name].append(wall)
    found = {name: statistics.median(seconds) for name, seconds in walls.items()}
    for name, seconds in found.items():
        print(f"{name:<22} {1000 * seconds:7.0f} ms a step")
    return found, ends


def sampling(study: Study, rounds: int) -> tuple[float, float, bool]:
    """Seconds that TRL and we take to sample one step's answers, and whether they are the same."""
    import torch

    from steps.posttrain import rollouts

    with tempfile.TemporaryDirectory() as folder:
        trainer = study.trainer(1, "uniform", True, Path(folder))
    rows = next(iter(trainer.get_train_dataloader()))
    group = trainer.num_generations
    talks = [
        [
            {
                "role": "user",
                "content": [
                    {"type": "image", "image": row["image"]},
                    {"type": "text", "text": row["prompt"][0]["content"]},
                ],
            }
        ]
        for row in rows
    ]

    def theirs() -> list[list[int]]:
        ids, images, fields = trainer._tokenize_prompts([list(t) for t in talks])
        return trainer._generate_single_turn(ids, images, fields, group)[0]

    def mine() -> list[list[int]]:
        return rollouts.rollouts(talks, trainer)["completion_ids"]

    walls: dict[str, list[float]] = {"trl": [], "ours": []}
    said: dict[str, Any] = {}
    for number in range(rounds):
        for name, sample in (("trl", theirs), ("ours", mine)):
            torch.manual_seed(number)
            started = time.perf_counter()
            found = sample()
            walls[name].append(time.perf_counter() - started)
            said.setdefault(name, []).append(found)
    trl, ours = (statistics.median(walls[name]) for name in ("trl", "ours"))
    return trl, ours, said["trl"] == said["ours"]


def main() -> None:
    """Measure in turns, print lines for people and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--study", default="", help="an overlay; default: params.yaml as it is")
    parser.add_argument("--steps", type=int, default=6, help="optimiser steps a run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the median counts")
    options = parser.parse_args()
    os.environ["SIGHTLINE_MIRROR"] = "off"
    study = Study(options.study)
    ways: dict[str, Way] = {
        "trl, its own sampling": (None, False, False),
        "trl, our sampling": (None, True, False),
        "ours, uniform": ("uniform", True, False),
        "as the stage runs it": ("uniform", True, True),
    }
    wall, ends = compare(study, ways, options.steps, options.rounds)
    alone, mixed, whole, stage = ways
    trl, ours, same = sampling(study, options.rounds)
    ratio, faster = wall[mixed] / wall[whole], wall[alone] / wall[whole]
    in_all = wall[alone] / wall[stage]
    print(
        f"our trainer runs at {ratio:.2f} of TRL's speed (goal 0.95), final weights "
        f"{'the same' if ends[mixed] == ends[whole] else 'NOT the same'}\n"
        f"with our sampling a step is {faster:.2f} x as fast (goal 1.3), sampling alone "
        f"{trl / ours:.2f} x, answers {'the same' if same else 'NOT the same'}\n"
        f"as the stage runs it, a step is {in_all:.2f} x as fast as TRL's"
    )
    tell(
        study=options.study or "default",
        wall_s=wall,
        ratio_vs_trl=ratio,
        same_weights=ends[mixed] == ends[whole],
        step_speedup=faster,
        stage_speedup=in_all,
        sampling_speedup=trl / ours,
        same_answers=same,
    )


if __name__ == "__main__":
    main()
