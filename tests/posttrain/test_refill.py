"""Dynamic sampling: groups that teach nothing give way to others, and all of it is counted."""

import pytest
import torch

from steps.posttrain import grpo, refill
from steps.posttrain.credit.trainer import CreditTrainer
from steps.stage import StageError

PAD = 9


def batch(advantages, width, long, first):
    """Two answers a group, as TRL makes them; tokens count from `first`, images are constant."""
    rows = len(advantages)
    ids = torch.arange(first, first + rows * width).reshape(rows, width) + 100
    mask = torch.ones(rows, width, dtype=torch.long)
    ids[0, 0], mask[0, 0] = PAD, 0  # prompts are padded on the left
    said = torch.arange(first, first + rows * long).reshape(rows, long) + 500
    told = torch.ones(rows, long, dtype=torch.long)
    said[1, -1], told[1, -1] = PAD, 0  # answers on the right
    return {
        "prompt_ids": ids,
        "prompt_mask": mask,
        "completion_ids": said,
        "completion_mask": told,
        "advantages": torch.tensor(advantages),
        "pixel_values": torch.full((rows, 3, 2, 2), float(first)),
        "sampling_per_token_logps": -torch.rand(rows, long),
        "num_images": [1] * rows,
        "num_items_in_batch": told.sum(),
    }


def test_flat_groups_are_those_without_an_advantage():
    told = batch([0.0, 0.0, 1.0, -1.0, 0.0, 0.0], 2, 2, 0)
    assert refill.flat(told, 2).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("widths", "longs"), [((3, 5), (2, 4)), ((5, 3), (4, 2)), ((4, 4), (3, 3))]
)
def test_informative_groups_take_the_places_of_flat_ones(widths, longs):
    told = batch([0.0, 0.0, 1.0, -1.0, 0.0, 0.0], widths[0], longs[0], 0)
    more = batch([0.5, -0.5, 0.0, 0.0], widths[1], longs[1], 50)
    kept = {name: told[name].clone() for name in ("prompt_ids", "completion_ids")}
    assert refill.spliced(told, more, 2, PAD) == 1
    assert told["advantages"].tolist() == [0.5, -0.5, 1.0, -1.0, 0.0, 0.0]
    assert told["pixel_values"][:, 0, 0, 0].tolist() == [50.0, 50.0, 0.0, 0.0, 0.0, 0.0]
    assert told["num_images"] == [1] * 6

    def words(ids, mask):
        return [row[m.bool()].tolist() for row, m in zip(ids, mask, strict=True)]

    for name in ("prompt", "completion"):
        new = words(told[f"{name}_ids"], told[f"{name}_mask"])
        assert new[:2] == words(more[f"{name}_ids"], more[f"{name}_mask"])[:2]
        old = kept[f"{name}_ids"]
        assert new[2:] == [[w for w in row.tolist() if w != PAD] for row in old[2:]]
    assert told["prompt_mask"][:, -1].all() and told["completion_mask"][:, 0].all()
    assert told["sampling_per_token_logps"].shape == told["completion_ids"].shape


def test_a_model_with_other_columns_is_refused():
    told, more = (batch([0.0, 0.0], 2, 2, at) for at in (0, 50))
    more["advantages"] = torch.tensor([1.0, -1.0])
    for part in (told, more):
        part["pixel_values"] = part["pixel_values"].flatten(0, 1)
    with pytest.raises(StageError, match=r"grpo\.refill needs .* pixel_values"):
        refill.spliced(told, more, 2, PAD)


def test_a_batch_is_filled_up_and_the_rest_goes_on_as_ever(params, train):
    rounds = {"refill": 6, "prompts": 4, "steps": 2, "generations": 4}
    told = params(grpo=rounds)
    _, points, weights = train(told, CreditTrainer, told=told.grpo)
    plain = params(grpo={**rounds, "refill": 0})
    _, without, _ = train(plain, CreditTrainer, told=plain.grpo)
    assert without[0]["frac_reward_zero_std"] > 0.25
    assert points[0]["refill/flat"] < without[0]["frac_reward_zero_std"]
    assert points[0]["refill/groups"] >= 1
    _, _, again = train(told, CreditTrainer, told=told.grpo)
    assert torch.equal(weights, again)
    # The reward is that of the questions that came first: before any update, the same.
    assert points[0]["reward"] == without[0]["reward"]
    assert points[0]["frac_reward_zero_std"] == without[0]["frac_reward_zero_std"]


def test_the_loss_is_over_the_tokens_of_all_processes(params, train):
    told = params(grpo={"refill": 2, "prompts": 4, "steps": 1, "generations": 4, "loss": "dapo"})
    batches = []

    class Two(CreditTrainer):
        """As where another process has as much."""

        def _generate_and_score_completions(self, inputs):
            self.accelerator.gather = lambda x: torch.cat([x.reshape(-1), x.reshape(-1)])
            batches.append(super()._generate_and_score_completions(inputs))
            return batches[-1]

    train(told, Two, told=told.grpo)
    for batch in batches:
        assert batch["num_items_in_batch"] == 2 * batch["completion_mask"].sum()


def test_what_gave_way_is_in_the_budget_as_drawn_and_not_as_trained_on(params, inputs, tmp_path):
    found = {}
    for rounds in (0, 4):
        (tmp_path / str(rounds)).mkdir()
        told = params(grpo={"refill": rounds, "steps": 2, "prompts": 4, "generations": 4})
        found[rounds] = grpo.run(told, inputs, tmp_path / str(rounds))
    # Four questions with four answers each are trained on, whatever was drawn besides.
    for metrics in found.values():
        assert 2 * 4 * (15 + 4) < metrics["budget/tokens"] < 2 * 4 * (20 + 4 * 9)
    assert found[4]["budget/rollout_tokens"] > found[0]["budget/rollout_tokens"]
    assert found[4]["budget/images"] > found[0]["budget/images"]
