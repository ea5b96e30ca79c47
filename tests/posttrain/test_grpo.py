"""What GRPO stands on: (B, T) advantages in TRL, aligned sampling, and a reward that can rise."""

import numpy as np
import pytest
import torch

from steps.posttrain import grpo, loop, questions, rewards, save


def train(told, inputs, kind, tmp_path):
    """Losses and final weights of a run of `kind` on the stage's own arguments."""
    model, processor = save.begin(inputs["base"])
    items = questions.kept(inputs["pairs"])
    sequence = questions.order(len(items), told.grpo.steps * told.grpo.prompts, 0)
    trainer = kind(
        model=model,
        reward_funcs=rewards.correctness,
        args=grpo.arguments(told, tmp_path, model),
        train_dataset=questions.dataset(
            items,
            inputs["items"] / "train_images.npy",
            sequence,
            value=list(items["value"]),
            choices=[list(c) for c in items["choices"]],
        ),
        processing_class=processor,
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


@pytest.mark.slow
def test_the_reward_rises(inputs, params, tmp_path):
    """A tiny random base learns to say colours at all, then the right ones more often."""
    from trl import GRPOTrainer

    told = params(grpo={"steps": 40, "prompts": 4, "learning_rate": 3e-3}, train={"micro_batch": 4})
    _, points, _ = train(told, inputs, GRPOTrainer, tmp_path)
    curve = [p["reward"] for p in points]
    assert np.mean(curve[-5:]) > np.mean(curve[:5]) + 0.15
