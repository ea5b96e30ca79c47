"""Answers to one question in one row: TRL's log-probabilities and gradients, from fewer tokens."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from trl.trainer.utils import add_fused_lm_head

from steps.models import build
from steps.models.connectivity import watched
from steps.models.grouped import grouped, layout
from steps.models.look import distinct

SIZES = SimpleNamespace(
    tower_width=32, tower_layers=2, tower_heads=2, width=32, layers=2, heads=2, feed_forward=48
)
WORDS = ["what", "red", "blue", "green", "is", "it"]
ANSWER = 4


@pytest.fixture
def model():
    found = build.vlm(build.config(SIZES, 16, 8, WORDS), 1)
    add_fused_lm_head(found, outputs=("log_probs", "entropy"))
    return found.train()


@pytest.fixture
def batch(model):
    """Six answers to three questions, in no order: prompts padded left, answers padded right."""
    rng = np.random.default_rng(0)
    image, pad = model.config.image_token_id, 0
    asked = [[7, *[image] * 4, *rng.integers(5, 10, n)] for n in (2, 4, 3)]
    width = max(map(len, asked))
    rows, masks, labels = [], [], []
    of = [0, 1, 0, 2, 1, 0]
    for question in of:
        said = rng.integers(5, 10, rng.integers(1, ANSWER + 1)).tolist()
        told = asked[question]
        left, right = width - len(told), ANSWER - len(said)
        rows.append([pad] * left + told + said + [pad] * right)
        masks.append([0] * left + [1] * (len(told) + len(said)) + [0] * right)
        labels.append([-100] * width + said + [-100] * right)
    rows[5][width:], masks[5][width:] = rows[0][width:], masks[0][width:]  # two the same
    labels[5] = labels[0]
    images = torch.randn(3, 3, 16, 16, generator=torch.manual_seed(2))
    return {
        "input_ids": torch.tensor(rows),
        "attention_mask": torch.tensor(masks),
        "labels": torch.tensor(labels),
        "pixel_values": images[torch.tensor(of)],
        "fused_lm_head": True,
    }


def gradients(model, batch):
    model.zero_grad()
    out = model(**batch)
    weight = torch.arange(1, 7)[:, None]
    ((out.log_probs + 0.1 * out.entropy) * weight).sum().backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return out.log_probs.detach(), out.entropy.detach(), found


def test_log_probabilities_and_gradients_are_those_of_copies(model, batch):
    plain, spread, slow = gradients(model, batch)
    seen = []
    handle = model.get_decoder().register_forward_hook(
        lambda module, args, out: seen.append(tuple(out.last_hidden_state.shape[:2]))
    )
    with grouped(model) as reads:
        shared, same, fast = gradients(model, batch)
    handle.remove()
    assert seen[0][0] == 3 and reads.images == 3
    assert reads.tokens < batch["attention_mask"].sum()
    assert (plain != 0).any() and shared.shape == plain.shape
    torch.testing.assert_close(shared, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(same, spread, rtol=1e-5, atol=1e-5)
    assert set(fast) == set(slow) and len(fast) > 20
    for name, value in slow.items():
        torch.testing.assert_close(fast[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("sinks", ["keep", "first"])
def test_attention_is_read_as_of_rows(model, batch, sinks):
    told = batch["input_ids"], batch["attention_mask"], ANSWER, [0, 1], None, sinks
    with watched(model, *told) as plain:
        model(**batch)
    with grouped(model) as reads, watched(model, *told, reads.heads) as shared:
        model(**batch)
    mine, theirs = shared.connectivity(), plain.connectivity()
    there = batch["labels"][:, -ANSWER:] != -100
    torch.testing.assert_close(mine.mass[there], theirs.mass[there], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mine.visible, theirs.visible)
    torch.testing.assert_close(mine.pattern[there], theirs.pattern[there], rtol=1e-4, atol=1e-6)


def test_the_layout_repeats_the_last_shared_token(batch):
    found = layout(batch["input_ids"], batch["attention_mask"], [0, 1, 0, 2, 1, 0])
    for row, mask, at, places in zip(
        batch["input_ids"], batch["attention_mask"].bool(), found.row, found.place, strict=True
    ):
        assert found.ids[at, places[mask]].tolist() == row[mask].tolist()
        assert found.positions[at, places[mask]].tolist() == list(range(int(mask.sum())))
    alone = found.ids[2][found.segments[2] >= 0]
    assert len(alone) == batch["attention_mask"][3].sum()


def test_rows_that_differ_before_their_image_ends_are_left_alone(model, batch):
    batch["input_ids"][2, batch["attention_mask"][2].argmax()] = 9
    plain = model(**batch).log_probs
    with grouped(model) as reads:
        assert torch.equal(model(**batch).log_probs, plain)
    assert reads.layout is None and reads.images == 6
    assert reads.tokens == batch["attention_mask"].sum()


def test_a_model_is_left_as_it_was(model, batch):
    plain = model(**batch).log_probs
    with grouped(model) as reads:
        model(**batch)
        text = {k: batch[k] for k in ("input_ids", "attention_mask", "pixel_values")}
        assert model(**text).logits.shape[:2] == batch["input_ids"].shape
    assert reads.layout is None
    assert torch.equal(model(**batch).log_probs, plain)


def test_equal_images_are_so_bit_for_bit():
    images = torch.zeros(4, 2, 2)
    images[1, 0, 0] = 1e-30
    images[3] = images[1]
    assert distinct(images.numpy()) == ([0, 1], [0, 1, 0, 1])
