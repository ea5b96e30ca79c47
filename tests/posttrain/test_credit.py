"""Credit rules as pure functions: what they pick, what they weigh, on cases worked by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps.posttrain.credit import known, scale, select, spoil, vppo
from steps.posttrain.credit.seen import Seen
from steps.posttrain.credit.trainer import RULES
from steps.schema.training import Credit, Grpo
from steps.stage import StageError

MASKED = sorted(set(RULES) - {"uniform"})


def told(**changes):
    """Section `grpo`, as far as rules read it."""
    values = {"share": 0.25, "select": "topk", "weight": "hard", "boost": 1.0}
    return SimpleNamespace(**values | {"pivots": 0.5, "floor": 0.9} | changes)


def batch(seed=0, lengths=(8, 5, 1, 0)):
    """Answers of several lengths, one empty; padded places hold values that no rule may use."""
    rng = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    density = torch.rand(mask.shape, generator=rng)
    return Seen(
        mask=mask,
        advantages=torch.randn(len(lengths), generator=rng),
        generator=torch.Generator().manual_seed(seed),
        density=torch.where(mask, density, 9.0),
        pattern=torch.rand(*mask.shape, 16, generator=rng),
        entropy=torch.where(mask, torch.rand(mask.shape, generator=rng), 9.0),
        drift=torch.where(mask, torch.rand(mask.shape, generator=rng), 9.0),
        depends=torch.rand(mask.shape, generator=rng) < 0.4,
    )


def rows(seen, order):
    """The same answers in another order."""
    fields = ("mask", "advantages", "density", "pattern", "entropy", "drift", "depends")
    picked = {name: getattr(seen, name)[order] for name in fields}
    return Seen(generator=torch.Generator().manual_seed(0), **picked)


def test_every_rule_that_params_may_name_is_there():
    assert list(RULES) == list(Credit.__args__)
    assert set(select.SELECT) == set(Grpo.model_fields["select"].annotation.__args__)


@pytest.mark.parametrize("weight", ["hard", "two_level", "density"])
@pytest.mark.parametrize("rule", RULES)
def test_no_weight_on_padding_and_a_mean_of_one(rule, weight):
    seen = batch()
    given = RULES[rule].weigh(seen, told(weight=weight, boost=0.5))
    tokens = scale.equal(given.tokens, seen.mask)
    assert (given.tokens >= 0).all() and not given.tokens[~seen.mask].any()
    totals = tokens.sum(1)
    full = torch.isclose(totals, seen.lengths.float())
    assert (full | (totals == 0)).all()
    assert full[:2].all()  # an answer of one token may lose all of it to `low_connectivity`
    assert given.chosen is None or not given.chosen[~seen.mask].any()


@pytest.mark.parametrize("rule", [r for r in RULES if r not in ("random", "shuffled")])
@pytest.mark.parametrize("how", ["topk", "metis", "kmeans"])
def test_answers_in_another_order_get_the_same(rule, how):
    seen, order = batch(), torch.tensor([2, 0, 3, 1])
    one = RULES[rule].weigh(seen, told(select=how))
    other = RULES[rule].weigh(rows(seen, order), told(select=how))
    torch.testing.assert_close(one.tokens[order], other.tokens)
    torch.testing.assert_close(one.answers[order], other.answers)


@pytest.mark.parametrize("how", ["topk", "metis", "kmeans"])
def test_anchors_and_the_rest_are_all_tokens_once(how):
    seen = batch()
    anchors = RULES["anchor"].weigh(seen, told(select=how)).chosen
    rest = RULES["low_connectivity"].weigh(seen, told(select=how)).chosen
    assert torch.equal(anchors | rest, seen.mask) and not (anchors & rest).any()
    assert (anchors.sum(1) >= (seen.lengths * 0.25).floor()).all()


def test_rules_of_equal_count_pick_as_many():
    seen = batch()
    counts = {r: RULES[r].weigh(seen, told()).chosen.sum(1).tolist() for r in RULES if r in
              ("anchor", "lowest", "inverse", "shuffled", "random", "entropy")}  # fmt: skip
    assert set(map(tuple, counts.values())) == {(2, 2, 1, 0)}


def test_the_most_are_the_largest_and_the_first_of_equals():
    values = torch.tensor([[0.1, 0.9, 0.9, 0.9, 0.5, 7.0]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 0]]).bool()
    assert select.most(values, mask, 0.4).tolist() == [[False, True, True, False, False, False]]
    assert select.most(values, mask, 0.41).sum() == 3  # rounded up
    assert select.most(values, mask, 1.0).tolist() == mask.tolist()


@pytest.mark.parametrize("how", ["metis", "kmeans"])
def test_clusters_find_a_planted_group(how):
    """Twelve of forty tokens look hard at one corner: they are the anchors, all and alone."""
    rng = np.random.default_rng(0)
    planted = np.zeros(40, bool)
    planted[rng.choice(40, 12, replace=False)] = True
    pattern = np.where(planted[:, None], np.eye(16)[0], np.full(16, 1 / 16))
    pattern = pattern + 0.01 * rng.random((40, 16))
    density = np.where(planted, 2.0, 0.2) + 0.01 * rng.random(40)
    seen = Seen(
        torch.ones(1, 40, dtype=torch.bool),
        torch.zeros(1),
        torch.Generator(),
        torch.tensor(density)[None].float(),
        torch.tensor(pattern)[None].float(),
    )
    chosen = select.SELECT[how](seen, 0.3)[0].numpy()
    assert (chosen & planted).sum() == planted.sum()
    assert chosen.sum() <= 15  # parts are whole: the last one may reach beyond


def test_shuffled_and_inverse_keep_an_answers_weights():
    seen = batch(lengths=(8, 8, 8, 8))
    how = told(weight="density")
    anchor = RULES["anchor"].weigh(seen, how).tokens
    for rule in ("shuffled", "inverse"):
        other = RULES[rule].weigh(seen, how).tokens
        torch.testing.assert_close(other.sort(1).values, anchor.sort(1).values)
        assert not torch.equal(other, anchor)
    inverse = RULES["inverse"].weigh(seen, how).tokens
    assert torch.equal(inverse.argmax(1), seen.density.argmin(1))


def test_two_levels_keep_the_mean():
    mask = torch.ones(2, 10, dtype=torch.bool)
    chosen = torch.zeros_like(mask)
    chosen[0, :2] = True
    found = scale.two_level(chosen, mask, 1.0)
    assert found[0].tolist() == [2.0, 2.0, *[0.75] * 8]  # 1 + b, 1 - b 2/8
    assert found[1].tolist() == [1.0] * 10  # nothing is chosen: nothing changes
    with pytest.raises(StageError, match="boost"):
        scale.two_level(~chosen, mask, 1.0)


def test_the_oracle_marks_tokens_as_words(inputs):
    """Each token of an answer has its word's mark; an answer without one keeps all its credit."""
    from steps.data.depends import marks
    from steps.models import load
    from steps.models.sample import prompts

    items = pd.read_parquet(inputs["items"] / "train.parquet")
    processor = load.processor(inputs["base"] / "instruct")
    asked = prompts(processor, 4, list(items["prompt"]), [""] * len(items))
    said = processor.tokenizer(
        list(items["response"]),
        padding=True,
        padding_side="right",
        return_tensors="pt",
        add_special_tokens=False,
    )
    mask = said["attention_mask"].bool()
    depends = known.words(processor, 4, items)
    found = depends(asked["input_ids"], said["input_ids"]) & mask
    for row, item in zip(found, items.itertuples(), strict=True):
        words = item.response.split()
        assert row[: len(words)].int().tolist() == marks(item.kind, item.prompt, words)
    assert found.any(1).all()
    seen = Seen(mask, torch.zeros(len(mask)), torch.Generator(), depends=found)
    assert torch.equal(RULES["oracle"].weigh(seen, told()).chosen, found)
    none = Seen(mask, torch.zeros(len(mask)), torch.Generator(), depends=torch.zeros_like(found))
    assert torch.equal(RULES["oracle"].weigh(none, told()).tokens, mask.float())


def test_the_oracle_needs_words_for_tokens(inputs):
    from steps.models import load

    processor = load.processor(inputs["base"] / "instruct")
    items = pd.DataFrame({"prompt": ["what colour ?"], "kind": ["color"]})
    processor.tokenizer.tokenize = lambda text: list(text)
    with pytest.raises(StageError, match="a token a word"):
        known.words(processor, 4, items)


def test_dependency_is_zero_where_nothing_changed_and_estimates_the_divergence():
    """k3 is never below 0, and its mean over samples is the exact divergence."""
    rng = torch.Generator().manual_seed(0)
    kept, spoilt = torch.randn(2, 5, generator=rng), torch.randn(2, 5, generator=rng)
    assert vppo.sampled(kept, kept).abs().max() == 0 and vppo.exact(kept, kept).abs().max() < 1e-6
    p, q = kept[0].log_softmax(-1), spoilt[0].log_softmax(-1)
    words = torch.multinomial(p.exp(), 200_000, replacement=True, generator=rng)
    k3 = vppo.sampled(p[words], q[words])
    assert (k3 >= 0).all()
    assert k3.mean().item() == pytest.approx(vppo.exact(kept[0], spoilt[0]).item(), rel=0.03)


def test_trajectory_factors():
    """Three answers of mean dependency 0, 1 and 3, by hand: floor .9, and a mean of 1."""
    drift = torch.tensor([[0.0, 0.0], [1.0, 1.0], [6.0, 0.0]])
    mask = torch.ones(3, 2, dtype=torch.bool)
    found = vppo.shaped(drift, mask, 0.9)
    # places 0, 1/3, 1: mean 4/9, so the ceiling is .9 + .1 / (4/9)
    assert found.tolist() == pytest.approx([0.9, 0.9 + 0.225 / 3, 0.9 + 0.225])
    assert found.mean().item() == pytest.approx(1.0)
    assert vppo.shaped(torch.ones(3, 2), mask, 0.9).tolist() == [1.0, 1.0, 1.0]
    given = RULES["vppo"].weigh(batch(), told(pivots=0.4))
    assert given.chosen.sum(1).tolist() == [4, 2, 1, 0]


def test_half_of_the_patches_are_blacked_out(inputs):
    from steps.models import load

    processor = load.processor(inputs["base"] / "instruct")
    pixels = torch.ones(200, 3, 16, 16)
    found = spoil.blacked(pixels, 8, processor, torch.Generator().manual_seed(0))
    blocks = found.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4)
    assert (blocks == blocks[..., :1]).all()
    mean, std = (processor.image_processor.to_dict()[k][0] for k in ("image_mean", "image_std"))
    assert found.unique().tolist() == pytest.approx([-mean / std, 1.0])
    assert (found != 1).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert not torch.equal(found[0], found[1])


def test_pgpo_by_hand():
    """Below the threshold in a straight line from 0 to 1, above it from 1 to 1 + boost."""
    drift = torch.tensor([[0.0, 0.2, 0.5, 1.0, 9.0]]).expm1()  # logarithms of 1 + S
    mask = torch.tensor([[1, 1, 1, 1, 0]]).bool()
    seen = Seen(mask, torch.ones(1), torch.Generator(), drift=drift)
    given = RULES["pgpo"].weigh(seen, told(pivots=0.4, boost=2.0))
    assert given.tokens[0].tolist() == pytest.approx([0.0, 0.5, 1 + 2 * 0.1 / 0.6, 3.0, 0.0])
    alike = Seen(mask, torch.ones(1), torch.Generator(), drift=torch.full((1, 5), 0.3))
    given = RULES["pgpo"].weigh(alike, told(pivots=0.4, boost=2.0))
    assert given.tokens[0].tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
