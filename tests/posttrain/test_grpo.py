"""What GRPO stands on: (B, T) advantages in TRL, aligned sampling, and a reward that can rise."""

import numpy as np
import pytest
import torch
from PIL import Image

from steps.posttrain import grpo, loop, questions, rewards, rollouts, save


def train(told, inputs, kind, tmp_path):
    """Losses and final weights of a run of `kind` on the stage's own arguments."""
    model, processor = save.begin(inputs["base"])
    items = questions.kept(inputs["pairs"])
    sequence = questions.order(len(items), told.grpo.steps * told.grpo.prompts, 0)
    trainer = kind(
        model=model,
        reward_funcs=rewards.correctness,
        args=grpo.arguments(told, tmp_path),
        train_dataset=questions.dataset(
            items,
            inputs["items"] / "train_images.npy",
            sequence,
            value=list(items["value"]),
            choices=[list(c) for c in items["choices"]],
        ),
        processing_class=processor,
        rollout_func=rollouts.rollouts,
    )
    points = loop.fit(trainer, told.run, "grpo.learning_rate")
    return trainer, points, torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("objective", [{}, {"loss": "dapo", "beta": 0.05, "scale": "none"}])
def test_token_weights_of_one_change_nothing(objective, inputs, params, tmp_path):
    """The gate for a new version of TRL: token credit is one overridden method (#4525 there)."""
    from trl import GRPOTrainer

    class Ones(GRPOTrainer):
        def _generate_and_score_completions(self, batch):
            out = super()._generate_and_score_completions(batch)
            shape = out["completion_ids"].shape
            out["advantages"] = out["advantages"].unsqueeze(1) * torch.ones(shape)
            return out

    class Ramp(GRPOTrainer):
        def _generate_and_score_completions(self, batch):
            out = super()._generate_and_score_completions(batch)
            ramp = torch.linspace(0.5, 1.5, out["completion_ids"].shape[1])
            out["advantages"] = out["advantages"].unsqueeze(1) * ramp
            return out

    told = params(grpo={"steps": 3, **objective})
    _, stock, plain = train(told, inputs, GRPOTrainer, tmp_path)
    _, ones, same = train(told, inputs, Ones, tmp_path)
    _, _, other = train(told, inputs, Ramp, tmp_path)
    assert [p["loss"] for p in ones] == [p["loss"] for p in stock]
    assert max(p["reward_std"] for p in stock) > 0  # else there is nothing to weight
    assert torch.equal(same, plain)
    assert not torch.equal(other, plain)


def test_samples_are_used_once_so_the_ratio_is_one(inputs, params, tmp_path):
    """TRL then makes no scoring pass of its own, and clipping never bites."""
    from trl import GRPOTrainer

    told = params(train={"micro_batch": 2}, grpo={"steps": 2})
    trainer, points, _ = train(told, inputs, GRPOTrainer, tmp_path)
    assert trainer.args.per_device_train_batch_size == 2
    assert trainer.args.gradient_accumulation_steps == trainer.args.steps_per_generation == 8
    assert "old_per_token_logps" not in trainer._buffered_inputs[0]
    assert [p["clip_ratio/region_mean"] for p in points] == [0.0, 0.0]


def test_answers_are_drawn_as_trl_would(inputs, params, tmp_path):
    """The same prompts, token by token; at temperature 0 the same answers, ends included."""
    from copy import deepcopy

    from trl import GRPOTrainer

    told = params(grpo={"steps": 1, "temperature": 1e-4})
    trainer, *_ = train(told, inputs, GRPOTrainer, tmp_path)
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
    assert found["prompt_ids"] == ids and found["logprobs"] is None
    assert found["completion_ids"] == said
    assert len({tuple(words) for words in said}) > 1
    assert any(words[-1] in trainer.eos_token_ids for words in said)


@pytest.mark.slow
def test_the_reward_rises(inputs, params, tmp_path):
    """A tiny random base learns to say colours at all, then the right ones more often."""
    from trl import GRPOTrainer

    told = params(grpo={"steps": 40, "prompts": 4, "learning_rate": 3e-3}, train={"micro_batch": 4})
    _, points, _ = train(told, inputs, GRPOTrainer, tmp_path)
    curve = [p["reward"] for p in points]
    assert np.mean(curve[-5:]) > np.mean(curve[:5]) + 0.15
