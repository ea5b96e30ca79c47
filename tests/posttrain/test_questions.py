"""One sequence of items for all arms, and images without detours."""

import pickle

import numpy as np
import pandas as pd
import pytest

from steps.posttrain import questions
from steps.stage import StageError


def test_every_pass_holds_every_item_once():
    found = questions.order(10, 25, seed=3)
    assert sorted(found[:10]) == sorted(found[10:20]) == list(range(10))
    assert list(found[:10]) != list(found[10:20])
    assert len(found) == 25


def test_a_shorter_arm_walks_the_beginning_of_a_longer_one():
    long = questions.order(17, 60, seed=1)
    for length in (1, 16, 17, 18, 40):
        assert list(questions.order(17, length, seed=1)) == list(long[:length])
    assert list(questions.order(17, 17, seed=2)) != list(long[:17])


def test_steps_are_whole_batches():
    assert questions.steps(1500, 2.0, 32) == 94
    assert questions.steps(3, 0.5, 32) == 1


def test_a_data_set_gives_rows_in_sequence_with_their_own_images(items):
    table = questions.table(items, "train")
    array = np.load(items / "train_images.npy")
    found = questions.dataset(table, items / "train_images.npy", [5, 0, 5], value=table["value"])
    rows = [found[i] for i in range(3)]
    assert [r["prompt"][0]["content"] for r in rows] == [table["prompt"][i] for i in (5, 0, 5)]
    assert [r["value"] for r in rows] == [table["value"][i] for i in (5, 0, 5)]
    for row, i in zip(rows, (5, 0, 5), strict=True):
        assert (np.asarray(row["image"]) == array[i]).all()


def test_pictures_are_pickled_without_their_images(tmp_path):
    np.save(tmp_path / "big.npy", np.zeros((100, 64, 64, 3), np.uint8))
    pictures = questions.Pictures(tmp_path / "big.npy", {"at": [7]})
    assert np.asarray(pictures({"row": [0]})["image"][0]).shape == (64, 64, 3)
    assert len(pickle.dumps(pictures)) < 1000
    assert pickle.loads(pickle.dumps(pictures))({"row": [0]})["image"][0].size == (64, 64)


def test_too_few_questions_name_the_key_to_change(items):
    assert len(questions.table(items, "stage1", 24)) == 24
    with pytest.raises(StageError, match=r"items\.stage1 = 24: this arm needs 25"):
        questions.table(items, "stage1", 25)


def test_kept_are_the_pairs(pairs):
    assert questions.kept(pairs).equals(pd.read_parquet(pairs / "pairs.parquet"))
