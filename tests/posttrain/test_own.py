"""One's own items in post-training: pairs as they are given, and rewards of their own."""

import json

import numpy as np
import pandas as pd
import pytest

from steps.posttrain import grpo, pairs, questions, rewards
from steps.stage import StageError
from tests.posttrain.conftest import asked


@pytest.fixture
def own(tmp_path):
    """A function: an items folder of 12 questions of one's own, with some columns set otherwise."""

    def make(**columns):
        table, images = asked(np.random.default_rng(0), 12)
        table = table.assign(form="own", style="own", reward="exact", choices=[[]] * 12)
        table = table.assign(**columns)
        table.to_parquet(tmp_path / "train.parquet")
        np.save(tmp_path / "train_images.npy", images)
        told = {"reward": ["exact"], "tolerance": 0.0, "function": None, "file": None}
        (tmp_path / "reward.json").write_text(json.dumps(told))
        return tmp_path

    return make


@pytest.fixture
def said(monkeypatch):
    """A function that sets what the base answers to a row."""

    def use(answers):
        def draw(self, items, images, begun):
            return [answers(row) for row in items.itertuples()]

        monkeypatch.setattr(pairs.Drawer, "draw", draw)

    return use


def test_given_pairs_are_taken_and_nothing_is_drawn(own, base, params, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "Drawer", None)
    wrong = [f"not {i}" for i in range(12)]
    folder = own(rejected=wrong, chosen=[f"yes {i}" for i in range(12)])
    (out := tmp_path / "pairs").mkdir()
    figures = pairs.run(params(), {"items": folder, "base": base}, out)
    table = questions.kept(out)
    assert list(table["rejected"]) == wrong and set(table["reason"]) == {"given"}
    assert list(table["chosen"]) == [f"yes {i}" for i in range(12)]
    assert figures == {"pairs/items": 12, "pairs/kept": 12, "pairs/dropped": 0, "pairs/given": 1}


def test_open_items_are_kept_without_a_rejected_answer(own, base, params, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "Drawer", None)
    (out := tmp_path / "pairs").mkdir()
    figures = pairs.run(params(), {"items": own(reward="open"), "base": base}, out)
    table = questions.kept(out)
    assert len(table) == 12 and set(table["rejected"]) == {""} and figures["pairs/given"] == 0
    with pytest.raises(StageError, match="12 of 12 training items have no answer that can be"):
        rewards.named("correct", 0, tmp_path, table)
    assert rewards.named("random", 0, tmp_path, table).__name__ == "coin"


def test_sampled_pairs_are_judged_by_the_reward(own, base, params, tmp_path, said):
    """Item i of 12: those of a multiple of 3 are open; of the rest, odd ones are never missed."""
    opened = ["open" if i % 3 == 0 else "exact" for i in range(12)]

    def answers(row):
        number = int(row.item[1:])
        right = f"The answer is {row.value.upper()}."  # words that the world's parser cannot read
        return [right] * 4 if number % 2 and number % 3 else [right, "pink", "pink", "pink"]

    said(answers)
    (out := tmp_path / "pairs").mkdir()
    figures = pairs.run(params(), {"items": own(reward=opened), "base": base}, out)
    table = questions.kept(out).set_index("item")
    assert set(table.index) == {f"q{i}" for i in range(12) if not (i % 2 and i % 3)}
    assert figures["pairs/kept"] == 8 and figures["pairs/dropped"] == 4
    judged = table[table["reward"] == "exact"]
    assert set(judged["right"]) == {1} and "" not in set(judged["sampled"])
    assert all(row.rejected != row.chosen for row in table.itertuples())
    # 8 judged items: 4 always right, 4 in one draw of 4; open ones do not count
    assert figures["pairs/pass_at_1"] == pytest.approx((4 + 4 / 4) / 8)


def talks(*texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


def test_grpo_is_rewarded_by_the_items_own_reward(own):
    folder = own(
        reward=["numeric", "choice", "exact"] * 4,
        value=["5", "blue", "red"] * 4,
        choices=[[], ["red", "blue"], []] * 4,
    )
    items = pd.read_parquet(folder / "train.parquet")
    data = grpo.dataset(items, folder / "train_images.npy", np.arange(3))
    columns = {name: [data[i][name] for i in range(3)] for name in rewards.TOLD}
    prompts = [data[i]["prompt"] for i in range(3)]
    given = rewards.named("correct", 0, folder, items)
    texts = talks("it is 5.0", "B", "Answer: Red!")
    assert given(texts, prompts=prompts, **columns) == [1.0, 1.0, 1.0]
    texts = talks("it is 6", "A", "Answer: blue")
    assert given(texts, prompts=prompts, **columns) == [0.0, 0.0, 0.0]


def test_a_function_of_one_s_own_is_given_the_prompt_s_text(own):
    folder = own(reward="mine.py:f")
    (folder / "reward.py").write_text(
        "def f(completions, prompts, answer, **columns):\n"
        "    return [float(a in c and p.startswith('what')) for c, p, a in"
        " zip(completions, prompts, answer)]\n"
    )
    told = {"reward": ["mine.py:f"], "tolerance": 0.0, "function": "f", "file": "mine.py"}
    (folder / "reward.json").write_text(json.dumps(told))
    items = pd.read_parquet(folder / "train.parquet").iloc[:2]
    columns = {name: list(items[name]) for name in rewards.TOLD}
    content = [{"type": "image"}, {"type": "text", "text": items["prompt"].iloc[0]}]
    prompts = [[{"role": "user", "content": content}], [{"role": "user", "content": "how ?"}]]
    given = rewards.named("correct", 0, folder, items)
    assert given(talks(*items["value"]), prompts=prompts, **columns) == [1.0, 0.0]


def test_the_world_s_items_are_rewarded_as_ever(items):
    table = questions.table(items, "train")
    assert rewards.named("correct", 0, items, table).reward is rewards.correctness
