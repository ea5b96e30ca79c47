"""Group-relative policy optimisation (Shao et al. 2024, 2402.03300, equation 3), by TRL's trainer.

Answers to each question are sampled from the model itself; one that the lenient parser reads as
right is rewarded, and a sample's advantage is its reward against its group's mean; how it is spread
over the sample's tokens is the credit rule's business (`steps.posttrain.credit`). Sampling and
updates are aligned (every batch of samples is used once), so the ratio to the sampling policy is 1
and clipping never bites.
"""

import warnings
from pathlib import Path
from typing import Any

from steps.posttrain import budget, history, loop, questions, rewards, rollouts, save, settings
from steps.posttrain.credit import known, show
from steps.track import log


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Stage `grpo`: sample, reward, train; write the model and its metrics."""
    from steps.posttrain.credit.trainer import CreditTrainer

    # TRL is pinned, and tests hold what is used of it.
    warnings.filterwarnings("ignore", "You are using 'rollout_func'", UserWarning)
    told = params.grpo
    items = questions.kept(inputs["pairs"])
    sequence = questions.order(len(items), told.steps * told.prompts, params.run.seed)
    model, processor = save.begin(inputs["base"], told.parts)
    with loop.workplace(params.run) as folder:
        args = arguments(params, folder)
        trainer = CreditTrainer(
            model=model,
            reward_funcs=rewards.named(told.reward, params.run.seed or 0),
            args=args,
            told=told,
            depends=known.words(processor, model.config.image_seq_length, items)
            if told.credit == "oracle"
            else None,
            train_dataset=dataset(items, inputs["items"] / "train_images.npy", sequence),
            processing_class=processor,
            rollout_func=rollouts.rollouts,
        )
        points = loop.fit(trainer, params.run, "grpo.learning_rate")
    asked = budget.lengths(
        processor, model.config.image_seq_length, list(items["prompt"]), [""] * len(items)
    )
    prompted = int(asked[sequence].sum())
    said = trainer.state.num_input_tokens_seen - prompted * told.generations
    assert said > 0
    trained = budget.Passes(trainer.state.num_input_tokens_seen, len(sequence) * told.generations)
    sampled = budget.Passes(prompted + said, len(sequence))
    moved = save.finish(model, inputs, out)
    if told.credit != "uniform":
        log.figure(show.page(trainer, items, inputs["items"] / "train_images.npy", out))
    settings.write(args, out)
    history.write(points, out)
    return {
        **history.ends(points),
        **budget.spent(
            model,
            told.steps,
            trained=trained,
            reference=sum([trained] * (bool(told.beta) + trainer.spoils), budget.NOTHING),
            rollouts=sampled,
        ),
        **moved,
    }


def dataset(items: Any, images: Path, sequence: Any) -> Any:
    """`questions.dataset` with what the reward reads: each question's value and choices."""
    choices = [list(c) for c in items["choices"]]
    return questions.dataset(items, images, sequence, value=list(items["value"]), choices=choices)


def arguments(params: Any, folder: Path) -> Any:
    """The GRPOConfig of a run; all of a step's samples are drawn at once and used once."""
    from trl import GRPOConfig

    told, train = params.grpo, params.train
    rows = settings.batches(told.prompts * told.generations, train.micro_batch)
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
        use_vllm=False,
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
