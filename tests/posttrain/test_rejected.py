"""Rejected answers: dealt in the mixture asked for, and of the kind that they are said to be."""

from collections import Counter

import pytest

from steps.data import parse
from steps.posttrain import rejected

MIX = {"wrong": 0.5, "continuation": 0.45, "format": 0.05}
COLORS = ["red", "blue", "green"]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20, 101, 1499])
def test_the_mixture_is_met_to_an_item(count):
    dealt = rejected.shares(MIX, count)
    assert sum(dealt.values()) == count
    assert all(abs(dealt[k] - share * count) < 1 for k, share in MIX.items())


def test_shares_by_largest_remainder():
    assert rejected.shares(MIX, 100) == {"wrong": 50, "continuation": 45, "format": 5}
    assert rejected.shares(MIX, 3) == {"wrong": 2, "continuation": 1, "format": 0}  # .5, .35, .15
    assert rejected.shares({"wrong": 1.0, "continuation": 0.0, "format": 0.0}, 5)["wrong"] == 5


def test_kinds_are_dealt_in_a_seeded_order():
    kinds = rejected.assign(MIX, 100, seed=0)
    assert Counter(kinds) == {"wrong": 50, "continuation": 45, "format": 5}
    assert kinds == rejected.assign(MIX, 100, seed=0) != rejected.assign(MIX, 100, seed=1)


def test_a_beginning_is_the_first_half():
    assert rejected.beginning("it is red . answer : red") == "it is red"
    assert rejected.beginning("answer : red") == "answer"
    assert rejected.beginning("red") == ""


def test_a_misreading_is_wrong_and_readable_if_there_is_one():
    told = ("answer : red", "red", COLORS)
    assert rejected.misread(["red", "large", "answer : blue", "green"], *told) == "answer : blue"
    assert rejected.misread(["red", "large", ""], *told) == "large"
    assert rejected.misread(["red", "answer : red", ""], *told) is None


def test_a_continuation_differs_and_is_wrong_if_one_is():
    told = ("answer : red", "red", COLORS)
    assert rejected.gone_on(["answer : red", "answer : red red", "answer : blue"], *told) == (
        "answer : blue"
    )
    assert rejected.gone_on(["answer : red", "answer : red red"], *told) == "answer : red red"
    assert rejected.gone_on(["answer : red"], *told) is None


@pytest.mark.parametrize("style", "ab")
@pytest.mark.parametrize("form", ["rationale", "answer", "word"])
def test_another_form_is_right_but_not_as_asked(style, form):
    text = rejected.reformed(style, form, "red")
    assert parse.lenient(text, COLORS) == "red"
    assert parse.strict(text, style, form) is None
