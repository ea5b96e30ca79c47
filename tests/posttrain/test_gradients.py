"""Gradient norms of anchors and of other words: parts of the update's own gradient."""

import pytest
import torch

from steps.posttrain import grpo
from steps.posttrain.credit import gradients
from steps.posttrain.credit.trainer import CreditTrainer


@pytest.mark.parametrize("loss", ["grpo", "dapo"])
def test_the_parts_are_those_of_separate_passes(loss):
    head = torch.nn.Linear(3, 5)
    states = torch.randn(2, 4, 3, generator=torch.manual_seed(0))
    words = torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    advantages = torch.tensor([[0.5], [-1.0]]).expand(2, 4)
    chosen = torch.tensor([[1, 0, 0, 1], [0, 0, 1, 1]]).bool()

    def logps():
        return head(states).log_softmax(-1).gather(-1, words[..., None])[..., 0]

    found = gradients.norms(logps(), advantages, mask, chosen, loss, head.parameters())
    wanted = []
    for some in (chosen & mask, ~chosen & mask):
        head.zero_grad()
        each = -(advantages * logps() * some)
        each = each.sum(1) / mask.sum(1) if loss == "grpo" else each.sum(1)
        each.sum().backward()
        wanted.append(torch.cat([p.grad.flatten() for p in head.parameters()]).norm().item())
    assert found == pytest.approx(wanted, rel=1e-5)
    assert min(found) > 0


def test_measuring_changes_nothing_and_the_ratio_is_one(params, train, inputs):
    """Curves of a measured run beside those of one that is not; sampling agrees with the update."""
    from steps.models import load
    from steps.posttrain.dose import Frozen

    folder = inputs["base"] / "instruct"
    frozen = Frozen(load.vlm(folder), load.processor(folder), inputs["items"])
    told = params(grpo={"steps": 3, "measure_every": 2})
    _, points, weights = train(told, CreditTrainer, told=told.grpo, frozen=frozen)
    plain = params(grpo={"steps": 3})
    _, without, same = train(plain, CreditTrainer, told=plain.grpo)
    assert torch.equal(weights, same)
    assert ["gradient/share" in p for p in points] == [True, False, True]
    assert all(0 < p["gradient/share"] < 1 for p in (points[0], points[2]))
    assert points[0]["kl_base"] == pytest.approx(0.0, abs=1e-6) and points[2]["kl_base"] > 1e-4
    assert max(p["ratio_off"] for p in points) < 1e-3
    assert all("gradient/share" not in p and "ratio_off" in p for p in without)


def test_the_stage_keeps_what_was_measured(params, inputs, tmp_path):
    metrics = grpo.run(params(grpo={"steps": 2, "measure_every": 1}), inputs, tmp_path)
    assert metrics["train/first/kl_base"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["train/last/gradient/anchors"] > 0
    assert metrics["train/last/ratio_off"] < 1e-3
