"""Group-relative policy optimisation (Shao et al. 2024, 2402.03300, equation 3), by TRL's trainer.

Answers to each question are sampled from the model itself; one that the lenient parser reads as
right is rewarded, and a sample's advantage is its reward against its group's mean; how it is spread
over the sample's tokens is the credit rule's business (`steps.posttrain.credit`). Sampling and
updates are aligned (every batch of samples is used once), so the ratio to the sampling policy is 1
and clipping never bites: how far it is from 1 is logged.

What may go wrong: a group that is all right or all wrong has no gradient (`frac_reward_zero_std`
counts them), or gives way to another (`refill`). An answer that is cut short counts as it reads
(`completions/clipped_ratio`). None is empty, since its end is a token; an image's placeholder is
never drawn. A reward that is not finite counts 0 (`reward/not_finite`); one that raises stops the
run with a sentence.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from steps import ranks
from steps.models.grouped import grouped
from steps.posttrain import (
    adapters,
    budget,
    history,
    loop,
    questions,
    rewards,
    rollouts,
    save,
    settings,
)
from steps.posttrain.credit import known, show
from steps.posttrain.dose import Frozen
from steps.stage import StageError
from steps.track import log


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Stage `grpo`: sample, reward, train; write the model and its metrics."""
    return ranks.spread(train, params, inputs, out)


def train(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """What each of the stage's processes does; the first gives metrics."""
    from steps.posttrain.credit.trainer import CreditTrainer

    # TRL is pinned, and tests hold what is used of it.
    warnings.filterwarnings("ignore", "You are using 'rollout_func'", UserWarning)
    told = params.grpo
    if told.sampler == "vllm" and find_spec("vllm") is None:
        raise StageError(
            "grpo.sampler = 'vllm': vLLM is not installed; install one that fits this torch, or "
            "set it to own"
        )
    items = questions.kept(inputs["pairs"])
    sequence = questions.order(len(items), told.steps * told.prompts, params.run.seed)
    model, processor = save.begin(inputs["base"], told.parts)
    with ranks.workplace(params.run) as folder, grouped(model) as reads:
        trainer = CreditTrainer(
            model=model,
            reward_funcs=rewards.named(told.reward, params.run.seed or 0, inputs["items"], items),
            args=arguments(params, folder),
            told=told,
            depends=known.words(processor, model.config.image_seq_length, items)
            if told.credit == "oracle"
            else None,
            frozen=Frozen(model, processor, inputs["items"]) if told.measure_every else None,
            reads=reads,
            train_dataset=dataset(items, inputs["items"] / "train_images.npy", sequence),
            processing_class=processor,
            peft_config=adapters.config(params.train.lora, model, told.parts),
            rollout_func=rollouts.rollouts if told.sampler == "own" else None,
        )
        points = loop.fit(trainer, params.run, "grpo.learning_rate", rates=params.train.rates)
    asked = budget.lengths(
        processor, model.config.image_seq_length, list(items["prompt"]), [""] * len(items)
    )
    spent = _passes(trainer, points, asked[sequence])
    cost = budget.spent(model, told.steps, **spent)
    page = show.page(trainer, items, inputs["items"] / "train_images.npy", out)
    moved = save.finish(trainer, inputs, out)
    if not ranks.main():
        return {}
    log.figure(page)
    settings.write(trainer.args, out)
    history.write(points, out)
    return {**history.ends(points), **cost, **moved}


def _passes(trainer: Any, points: list[dict[str, float]], asked: np.ndarray) -> dict[str, Any]:
    """What went through the model, by `budget.spent`'s names.

    asked: tokens of each question that was to be answered, with its image. A group shares one pass
    over its question when it is drawn; groups that gave way to others were drawn, not trained on.
    """
    told = trainer.told
    extra = {"groups": 0, "prompted": 0}
    if told.refill:
        extra = {name: round(history.total(points, f"refill/{name}")) for name in extra}
    prompted = int(asked.sum()) + extra["prompted"]
    said = trainer.state.num_input_tokens_seen - prompted * told.generations
    assert said > 0
    passes = trainer.args.gradient_accumulation_steps
    tokens, images = (round(history.total(points, n, passes)) for n in ("tokens", "images"))
    trained = budget.Passes(tokens, images)
    again = trained if trainer.spoils else budget.NOTHING
    if told.beta:  # the base is asked apart, answer by answer
        lengths = asked.sum() * told.generations + said
        again += budget.Passes(int(lengths), len(asked) * told.generations)
    return {
        "trained": trained,
        "reference": again,
        "rollouts": budget.Passes(prompted + said, len(asked) + extra["groups"]),
    }


def dataset(items: Any, images: Path, sequence: Any) -> Any:
    """`questions.dataset` with what the reward reads: each question's value and choices."""
    told = {name: list(items[name]) for name in rewards.TOLD if "reward" in items}
    told |= {"value": list(items["value"]), "choices": [list(c) for c in items["choices"]]}
    return questions.dataset(items, images, sequence, **told)


def arguments(params: Any, folder: Path) -> Any:
    """The GRPOConfig of a run; all of a step's samples are drawn at once and used once."""
    from trl import GRPOConfig

    told, train = params.grpo, params.train
    size = told.prompts * told.generations
    rows = settings.batches(size, told.micro_batch, train.processes)
    return GRPOConfig(
        **settings.shared(train, params.run, folder, told.steps, told.learning_rate),
        **rows,
        steps_per_generation=rows["gradient_accumulation_steps"],
        num_iterations=1,
        shuffle_dataset=False,  # the items' order is ours
        disable_dropout=True,
        # Sampling from the whole distribution.
        num_generations=told.generations,
        max_completion_length=told.max_tokens,
        temperature=told.temperature,
        top_p=1.0,
        top_k=0,
        min_p=None,
        repetition_penalty=1.0,
        use_vllm=told.sampler == "vllm",
        vllm_mode="colocate",
        vllm_gpu_memory_utilization=told.vllm_memory,
        vllm_importance_sampling_correction=True,
        # The objective.
        loss_type=told.loss,
        scale_rewards=told.scale,
        beta=told.beta,
        epsilon=0.2,
        epsilon_high=0.2,
        importance_sampling_level="token",
        multi_objective_aggregation="sum_then_normalize",
        reward_weights=[1.0],
        mask_truncated_completions=False,
        top_entropy_quantile=1.0,
        entropy_coef=0.0,
        use_bias_correction_kl=False,
        sync_ref_model=False,
        log_completions=False,
    )
