"""The four currencies, against counts made by hand and by the processor itself."""

import pandas as pd
import pytest
from PIL import Image

from steps.models import load
from steps.posttrain import budget, questions
from steps.posttrain.budget import Passes


@pytest.fixture(scope="module")
def model(base):
    return load.vlm(base / "instruct")


def test_lengths_are_those_that_the_model_reads(base, items):
    processor = load.processor(base / "instruct")
    table = pd.read_parquet(items / "train.parquet").iloc[:6]
    image = Image.new("RGB", (16, 16))
    for waits in (False, True):
        texts = [""] * 6 if waits else list(table["response"])
        found = budget.lengths(processor, 4, list(table["prompt"]), texts)
        for prompt, text, count in zip(table["prompt"], texts, found, strict=True):
            talk = [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": image},
                        {"type": "text", "text": prompt},
                    ],
                }
            ]
            if text:
                talk.append({"role": "assistant", "content": [{"type": "text", "text": text}]})
            ids = processor.apply_chat_template(
                [talk], add_generation_prompt=waits, tokenize=True, return_dict=True
            )["input_ids"][0]
            assert len(ids) == count


def test_sizes_add_up(model):
    sizes = budget.sizes(model)
    assert sum(sizes.values()) == sum(p.numel() for p in model.parameters())
    assert sizes["projector"] == 32 * 32 + 32 + 32 * 32 + 32
    assert all(sizes.values())


def test_flops_by_hand(model):
    n = budget.sizes(model)
    eye, words = n["tower"] + n["projector"], n["language"]
    found = budget.spent(model, 7, Passes(100, 3), Passes(10, 1), Passes(50, 2))
    assert found["budget/flops"] == (
        6 * (eye * 12 + words * 100) + 2 * (eye * 4 + words * 10) + 2 * (eye * 8 + words * 50)
    )
    assert found["budget/steps"] == 7 and found["budget/images"] == 6
    assert found["budget/tokens"] == 100 and found["budget/rollout_tokens"] == 50
    assert found["budget/reference_tokens"] == 10


def test_no_training_costs_nothing_in_the_same_names(model):
    free = budget.free()
    assert set(free) == set(budget.spent(model, 1, Passes(1, 1)))
    assert set(free.values()) == {0}


def test_an_arms_budget_is_its_items_tokens(trained, base, items, pairs):
    """SFT and DPO saw 20 items once; a pair's image, question and first words are read once."""
    table = pd.read_parquet(pairs / "pairs.parquet")
    processor = load.processor(base / "instruct")
    prompts = list(table["prompt"])
    read = budget.lengths(processor, 4, prompts, list(table["response"]))
    worse = budget.lengths(processor, 4, prompts, list(table["rejected"]))
    asked = budget.lengths(processor, 4, prompts, [""] * 20)
    same = [
        next(i for i, (a, b) in enumerate(zip(x.split(), y.split(), strict=True)) if a != b)
        for x, y in zip(table["response"], table["rejected"], strict=True)
    ]
    sft, dpo = trained["sft"][1], trained["dpo"][1]
    assert sft["budget/tokens"] == read.sum()
    both = (read + worse - (asked + same - 1)).sum()
    assert dpo["budget/tokens"] == dpo["budget/reference_tokens"] == both
    grpo = trained["grpo"][1]
    # Ten groups of eight share one pass over image and question when they are drawn, and in the
    # update as well, where the last shared token stands before each answer again.
    once = asked[questions.order(20, 10, 0)].sum()
    assert once + 80 <= grpo["budget/rollout_tokens"] <= once + 80 * 8
    assert once < grpo["budget/tokens"] <= grpo["budget/rollout_tokens"] + 80 - 10
