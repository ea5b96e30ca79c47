"""The reward is the lenient parser's verdict."""

import pytest

from steps.posttrain.rewards import Guarded, correctness, right
from steps.stage import StageError


def said(*texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


def test_right_answers_are_rewarded_whatever_their_form():
    texts = said("red", "answer : red", "it is blue . answer : red", "blue", "", "large")
    value, choices = ["red"] * 6, [["red", "blue"]] * 6
    found = correctness(texts, value=value, choices=choices, prompts=[], completion_ids=[])
    assert found == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_each_sample_is_judged_by_its_own_question():
    found = correctness(
        said("two", "two"), value=["two", "yes"], choices=[["one", "two"], ["yes", "no"]]
    )
    assert found == [1.0, 0.0]
    assert not right("two", "two", ["yes", "no"])  # not an answer to that question


def test_a_reward_that_is_not_a_number_is_nothing_and_counted():
    told = []

    def odd(completions, **_):
        return [1.0, float("nan"), float("inf"), 0.5]

    found = Guarded(odd)(list("abcd"), log_metric=lambda *a: told.append(a))
    assert found == [1.0, 0.0, 0.0, 0.5] and told == [("reward/not_finite", 0.5)]


def test_a_reward_that_fails_or_miscounts_says_so():
    def raises(completions, **_):
        raise KeyError("box")

    with pytest.raises(StageError, match=r"reward raises failed on 2 answers .*KeyError: 'box'"):
        Guarded(raises)(["one", "two"])
    with pytest.raises(StageError, match="3 values for 2 answers"):
        Guarded(lambda completions, **_: [0, 1, 1])(["one", "two"])
