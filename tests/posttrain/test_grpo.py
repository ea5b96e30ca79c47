"""What GRPO stands on: (B, T) advantages in TRL, aligned sampling, and a reward that can rise."""

import numpy as np
import pytest
import torch
from PIL import Image

from steps.posttrain import rollouts


def test_samples_are_used_once_so_the_ratio_is_one(params, train):
    """TRL then makes no scoring pass of its own, and clipping never bites."""
    from trl import GRPOTrainer

    told = params(grpo={"steps": 2, "micro_batch": 2})
    trainer, points, _ = train(told, GRPOTrainer)
    assert trainer.args.per_device_train_batch_size == 2
    assert trainer.args.gradient_accumulation_steps == trainer.args.steps_per_generation == 8
    assert "old_per_token_logps" not in trainer._buffered_inputs[0]
    assert [p["clip_ratio/region_mean"] for p in points] == [0.0, 0.0]


def test_answers_are_drawn_as_trl_would(params, train):
    """The same prompts, token by token; at temperature 0 the same answers, ends included."""
    from copy import deepcopy

    from trl import GRPOTrainer

    told = params(grpo={"steps": 1, "temperature": 1e-4})
    trainer, *_ = train(told, GRPOTrainer)
    torch.manual_seed(1)
    with torch.no_grad():  # a random tiny model says one word for ever; this one looks and stops
        for weights in trainer.model.parameters():
            weights.add_(0.6 * torch.randn_like(weights))
    shown = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    talks = [
        [{"role": "user", "content": [{"type": "image", "image": Image.fromarray(i)}, part]}]
        for i, text in zip(shown, ("what color is it ?", "what color ?"), strict=True)
        for part in [{"type": "text", "text": text}]
    ]
    asked = [talk for talk in talks for _ in range(trainer.num_generations)]
    found = rollouts.rollouts(asked, trainer)
    ids, images, fields = trainer._tokenize_prompts(deepcopy(asked))
    said, _ = trainer._generate_single_turn(ids, images, fields, trainer.num_generations)
    assert found["prompt_ids"] == ids
    assert [len(row) for row in found["logprobs"]] == [len(words) for words in said]
    assert found["completion_ids"] == said
    assert len({tuple(words) for words in said}) > 1
    assert any(words[-1] in trainer.eos_token_ids for words in said)


@pytest.mark.slow
def test_the_reward_rises(params, train):
    """A tiny random base learns to say colours at all, then the right ones more often."""
    from trl import GRPOTrainer

    told = params(grpo={"steps": 40, "prompts": 4, "learning_rate": 3e-3})
    _, points, _ = train(told, GRPOTrainer)
    curve = [p["reward"] for p in points]
    assert np.mean(curve[-5:]) > np.mean(curve[:5]) + 0.15
