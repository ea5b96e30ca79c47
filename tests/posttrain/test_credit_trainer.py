"""Credit inside TRL's trainer: weights of one change nothing, all others do what they say."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps.posttrain import grpo
from steps.posttrain.credit import trainer as module
from steps.posttrain.credit.seen import Credit, alike
from steps.posttrain.credit.trainer import RULES, CreditTrainer


@pytest.mark.parametrize("objective", [{}, {"loss": "dapo", "beta": 0.05, "scale": "none"}])
def test_weights_of_one_change_nothing(objective, params, train):
    """The gate for a new version of TRL: parameters and curves bit for bit those of stock TRL.

    A rule that picks by chance moves them, so there is something to weight.
    """
    from trl import GRPOTrainer

    told = params(grpo={"steps": 3, **objective})
    _, stock, plain = train(told, GRPOTrainer)
    _, ones, same = train(told, CreditTrainer, told=told.grpo)
    other = params(grpo={"steps": 3, "credit": "random", "share": 0.4, **objective})
    _, _, moved = train(other, CreditTrainer, told=other.grpo)
    assert [p["loss"] for p in ones] == [p["loss"] for p in stock]
    assert max(p["reward_std"] for p in stock) > 0
    assert torch.equal(same, plain)
    assert not torch.equal(moved, plain)


def test_advantages_are_read_after_the_pass_that_credit_reads(params, train, monkeypatch):
    """Weights of zero leave nothing to learn: TRL's loss takes what the rule gave, and no other."""
    zero = SimpleNamespace(
        NEEDS=frozenset({"attention", "entropy", "drift"}),
        weigh=lambda seen, told: Credit(torch.zeros_like(seen.density), alike(seen)),
    )
    monkeypatch.setitem(module.RULES, "anchor", zero)
    told = params(grpo={"steps": 2, "credit": "anchor"})
    _, points, _ = train(told, CreditTrainer, told=told.grpo)
    assert max(p["reward_std"] for p in points) > 0
    assert [p["grad_norm"] for p in points] == [0.0, 0.0]


@pytest.mark.parametrize("rule", RULES)
def test_only_what_a_rule_asks_for_is_computed(rule, params, train, monkeypatch):
    """Forward passes a step, and what is handed over; the rule sees the batch as it is."""
    handed, weigh = [], RULES[rule].weigh

    def spy(seen, told):
        handed.append(seen)
        return weigh(seen, told)

    monkeypatch.setattr(RULES[rule], "weigh", spy)
    told = params(grpo={"steps": 1, "credit": rule})
    passes = []

    class Counted(CreditTrainer):
        def _compute_loss(self, model, inputs):
            handle = model.register_forward_pre_hook(lambda *_: passes.append(1))
            try:
                return super()._compute_loss(model, inputs)
            finally:
                handle.remove()

    depends = {"depends": lambda _, ids: torch.ones_like(ids).bool()} if rule == "oracle" else {}
    train(told, Counted, told=told.grpo, **depends)
    needs = RULES[rule].NEEDS
    assert len(passes) == len(handed) * (2 if "drift" in needs else 1)
    given = {
        "attention": handed[0].density is not None and handed[0].pattern is not None,
        "entropy": handed[0].entropy is not None,
        "drift": handed[0].drift is not None,
        "depends": handed[0].depends is not None,
    }
    assert {name for name, there in given.items() if there} == needs
    for seen in handed:
        assert seen.mask.dtype == torch.bool and (seen.lengths > 0).all()
        for value in (seen.density, seen.entropy, seen.drift):
            assert value is None or (value.shape == seen.mask.shape and not value.requires_grad)


def test_the_entropy_is_that_of_the_sampled_positions(params, train, monkeypatch):
    """Read off TRL's output, it averages to what TRL itself logs."""
    handed, weigh = [], RULES["entropy"].weigh
    monkeypatch.setattr(
        RULES["entropy"], "weigh", lambda seen, told: (handed.append(seen), weigh(seen, told))[1]
    )
    told = params(grpo={"steps": 1, "credit": "entropy", "micro_batch": 16})
    _, points, _ = train(told, CreditTrainer, told=told.grpo)
    (seen,) = handed
    mean = seen.entropy[seen.mask].mean().item()
    assert mean == pytest.approx(points[0]["entropy"], rel=1e-5)


@pytest.mark.parametrize("rule", ["anchor", "random", "vppo"])
def test_a_rule_leaves_sampling_alone_and_repeats(rule, params, train):
    """The first rollouts are those of `uniform`, and a second run gives the same weights."""
    said = []

    class Kept(CreditTrainer):
        """Keeps the answers that it draws."""

        def _generate_and_score_completions(self, inputs):
            batch = super()._generate_and_score_completions(inputs)
            said.append(batch["completion_ids"])
            return batch

    told = params(grpo={"steps": 2, "credit": rule, "divergence": "sampled"})
    _, points, weights = train(told, Kept, told=told.grpo)
    _, _, again = train(told, Kept, told=told.grpo)
    plain = params(grpo={"steps": 1})
    train(plain, Kept, told=plain.grpo)
    first, _, _, _, uniform = said
    assert torch.equal(first, uniform)
    assert torch.equal(weights, again)
    assert 0 < points[0]["credit/share"] < 1
    assert points[0]["credit/weight"] == pytest.approx(points[0]["credit/share"])


def test_the_stage_keeps_what_the_rule_did(params, inputs, tmp_path):
    told = params(grpo={"steps": 2, "credit": "oracle"})
    metrics = grpo.run(told, inputs, tmp_path)
    assert metrics["train/last/credit/recall"] == 1.0
    assert 0 < metrics["train/last/credit/precision"] <= 1.0
    curves = json.loads((tmp_path / "curves.json").read_text())
    assert len(curves["credit/share"]) == 2
    page = (tmp_path / "credit.html").read_text()
    assert page.count("<section>") == 12 and "http" not in page
    assert page.count('title="0.00"') and page.count('class="word"') > 12
    (tmp_path / "again").mkdir()
    grpo.run(told, inputs, tmp_path / "again")
    assert (tmp_path / "again" / "credit.html").read_text() == page
    assert not any("seconds" in name for name in curves)


def test_a_pass_over_spoilt_images_is_in_the_budget(params, inputs, tmp_path):
    found = {}
    for rule in ("anchor", "vppo"):
        (tmp_path / rule).mkdir()
        found[rule] = grpo.run(params(grpo={"steps": 1, "credit": rule}), inputs, tmp_path / rule)
    anchor, vppo = found["anchor"], found["vppo"]
    assert anchor["budget/reference_tokens"] == 0
    assert vppo["budget/reference_tokens"] == vppo["budget/tokens"] == anchor["budget/tokens"]
    assert vppo["budget/images"] - anchor["budget/images"] == 2  # one for each question


def test_a_coin_pays_alike_for_all_answers(params, inputs, tmp_path):
    from steps.posttrain.rewards import Coin

    coin, state = Coin(3), SimpleNamespace(global_step=7)
    told = coin(completions=list(range(4000)), trainer_state=state)
    assert set(told) == {0.0, 1.0} and np.mean(told) == pytest.approx(0.5, abs=0.03)
    assert told == Coin(3)(completions=list(range(4000)), trainer_state=state)
    assert told != coin(completions=list(range(4000)), trainer_state=SimpleNamespace(global_step=8))
    metrics = grpo.run(params(grpo={"steps": 2, "reward": "random"}), inputs, tmp_path)
    assert 0.2 < metrics["train/last/reward"] < 0.8
