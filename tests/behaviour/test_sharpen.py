"""Draws, pass@k and majority, worked by hand; and the stage on a tiny model."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps.behaviour import sharpen


@pytest.fixture
def table():
    found = pd.DataFrame({"item": list("abcd"), "value": ["red", "blue", "green", "red"]})
    found["kind"], found["form"] = "color", "word"
    found["choices"] = [["red", "blue", "green"]] * 4
    return found


def test_scores_by_hand(table):
    found = sharpen.score(
        table,
        [
            ["red", "blue", "red", "answer : red"],  # 3 of 4, majority right
            ["red", "red", "blue", "green"],  # 1 of 4, majority wrong
            ["green", "blue", "blue", "green"],  # a tie: the first drawn counts
            ["", "ring", "blue", "red"],  # unreadable ones have no vote: blue came first
        ],
    )
    assert found["lenient"].tolist() == [0.75, 0.25, 0.5, 0.25]
    assert found["any"].tolist() == [1, 1, 1, 1]
    assert found["majority"].tolist() == [1, 0, 1, 0]
    none = sharpen.score(table.iloc[:1], [["", "ring"]])
    assert (none["any"][0], none["majority"][0], none["lenient"][0]) == (0, 0, 0)


def test_surer_answers_keep_what_they_can_reach_and_raise_the_draw(table):
    """Drawn from one distribution, sharpened: the mean rises towards the majority, none passes."""
    rng = np.random.default_rng(0)
    many = pd.concat([table.iloc[:1]] * 400, ignore_index=True)
    flat, sharp = (
        sharpen.score(many, rng.choice(["red", "blue", "green"], (400, 8), p=p).tolist())
        for p in ([0.5, 0.3, 0.2], [0.8, 0.15, 0.05])
    )
    assert sharp["lenient"].mean() > flat["lenient"].mean() + 0.2
    assert flat["majority"].mean() > flat["lenient"].mean() + 0.1


def test_stage_writes_the_contract(asked, tmp_path):
    folder, table, _ = asked
    section = SimpleNamespace(items=9, draws=3, temperature=1.0, max_tokens=4, batch=4)
    told = SimpleNamespace(
        sharpen=section, run=SimpleNamespace(study="s", base="b", arm="none", seed=3)
    )
    given = {"items": folder / "items", "model": folder / "model"}
    metrics = sharpen.run(told, given, tmp_path)
    items = pd.read_parquet(tmp_path / "items.parquet")
    contract = ["study", "base", "arm", "seed", "instrument", "item", "raw", "strict", "lenient"]
    assert list(items.columns[:9]) == contract and set(items["instrument"]) == {"sharpen"}
    assert items["item"].is_unique and len(items) == 9
    assert items["item"].iloc[[0, -1]].tolist() == table["item"].iloc[[0, -1]].tolist()
    assert items["raw"].str.count("\n").eq(2).all()
    assert sharpen.rescored(told, given, tmp_path, tmp_path) == metrics
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "items.parquet"), items)
    assert metrics["sharpen/draw"] == items["lenient"].mean() <= metrics["sharpen/any"]
    assert sharpen.run(told, given, tmp_path) == metrics
