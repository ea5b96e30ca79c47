"""Pairs: what the base never misses leaves, the rest gets a rejected answer of each kind."""

import numpy as np
import pandas as pd
import pytest

from steps.posttrain import pairs
from steps.posttrain.rewards import right
from steps.stage import StageError


@pytest.fixture
def drawn(monkeypatch):
    """A function that sets what the base answers: item, whether its image is grey, to texts."""
    asked = []

    def use(answers):
        def draw(self, items, images, begun):
            grey = bool((images == pairs.GREY).all())
            asked.append((grey, list(items["item"]), list(begun)))
            return [
                [f"{start} {text}".strip() for text in answers(row, grey)]
                for row, start in zip(items.itertuples(), begun, strict=True)
            ]

        monkeypatch.setattr(pairs.Drawer, "draw", draw)
        return asked

    return use


def other(value):
    return "blue" if value != "blue" else "green"


def test_items_that_the_base_never_misses_leave(drawn, inputs, params, tmp_path):
    def answers(row, grey):
        always = int(row.item[1:]) % 4 == 0
        return [row.value] * 3 + [row.value if always and not grey else other(row.value)]

    asked = drawn(answers)
    metrics = pairs.run(params(), inputs, tmp_path)
    table = pd.read_parquet(tmp_path / "pairs.parquet")
    assert sorted(table["item"]) == sorted(f"q{i}" for i in range(24) if i % 4)
    assert metrics["pairs/items"] == 24
    assert metrics["pairs/kept"] == 18 and metrics["pairs/dropped"] == 6
    assert metrics["pairs/pass_at_1"] == pytest.approx((6 + 18 * 0.75) / 24)
    assert metrics["pairs/pass_at_4"] == 1.0
    assert (table["right"] == 3).all()
    assert (table["sampled"] == table["value"]).all()  # a right answer that was drawn
    assert (table["chosen"] == table["response"]).all()

    # 18 items in the mixture .5/.45/.05: 9, 8.1 and .9.
    reasons = table["reason"].value_counts().to_dict()
    assert reasons == {"wrong": 9, "continuation": 8, "format": 1}
    assert metrics["pairs/wrong"] == 0.5 and metrics["pairs/fallbacks"] == 0
    for row in table.itertuples():
        assert row.rejected != row.chosen
        assert right(row.rejected, row.value, row.choices) == (row.reason == "format")
    assert [grey for grey, *_ in asked] == [False, True]
    blind = table[table["reason"] == "continuation"]
    assert asked[1][1] == list(blind["item"])
    halves = [" ".join(t.split()[: len(t.split()) // 2]) for t in blind["response"]]
    assert asked[1][2] == halves
    assert all(r.startswith(h) for r, h in zip(blind["rejected"], halves, strict=True))


def test_what_cannot_have_its_kind_falls_back_and_is_counted(drawn, inputs, params, tmp_path):
    """Blind, this base goes on exactly as the reference does; so no continuation is one."""

    def answers(row, grey):
        words = row.response.split()
        return [" ".join(words[len(words) // 2 :])] * 4 if grey else [other(row.value)] * 4

    drawn(answers)
    metrics = pairs.run(params(), inputs, tmp_path)
    assert metrics["pairs/continuation"] == 0 and metrics["pairs/fallbacks"] == 11
    assert metrics["pairs/wrong"] == pytest.approx(23 / 24)


def test_a_base_that_misses_nothing_stops_the_study(drawn, inputs, params, tmp_path):
    drawn(lambda row, grey: [row.value] * 4)
    with pytest.raises(StageError, match=r"misses none of 24 .* raise pairs\.temperature"):
        pairs.run(params(), inputs, tmp_path)


def test_the_stage_is_deterministic_and_its_table_complete(inputs, params, tmp_path):
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(pairs.run(params(), inputs, tmp_path / name))
    one, two = ((tmp_path / n / "pairs.parquet").read_bytes() for n in ("one", "two"))
    assert one == two and found[0] == found[1]
    table = pd.read_parquet(tmp_path / "one" / "pairs.parquet")
    assert set(table) == {
        "item", "image", "prompt", "chosen", "rejected", "reason", "kind", "form", "style",
        "value", "choices", "response", "right", "sampled",
    }  # fmt: skip
    assert table["rejected"].str.len().min() > 0
    assert not table["rejected"].str.contains("<").any()
    assert (table["chosen"] != table["rejected"]).all()
    (tmp_path / "three").mkdir()
    pairs.run(params(seed=1), inputs, tmp_path / "three")
    assert (tmp_path / "three" / "pairs.parquet").read_bytes() != one


def test_answers_come_back_to_their_questions(inputs, params, base, items):
    """Questions are answered in another order than they stand in."""
    from steps.models import load

    instruct = base / "instruct"
    drawer = pairs.Drawer(load.vlm(instruct), load.processor(instruct), params().pairs, 0)
    table = pd.read_parquet(items / "train.parquet")
    images = np.load(items / "train_images.npy")
    begun = [f"{value} {form}" for value, form in zip(table["value"], table["item"], strict=True)]
    found = drawer.draw(table, images, begun)
    for texts, start in zip(found, begun, strict=True):
        assert len(texts) == 4 and all(text.startswith(start) for text in texts)
