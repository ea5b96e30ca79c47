"""Judges of benchmarks alone: yes and no, nearness of letters, agreement with people."""

from statistics import mean

import numpy as np
import pytest

from steps.data.judge import anls, people, yes_no
from steps.data.judge.exact import normalised


@pytest.mark.parametrize(
    ("text", "found", "bare"),
    [
        ("Yes", "yes", True),
        ("no.", "no", True),
        ("Yes, there is a dog, and no cat.", "yes", False),
        ("There is no dog.", "no", False),
        ("I would say yes or no", None, False),
        ("It is not. Answer: No", "no", False),
        ("<answer>yes</answer>", "yes", False),
        ("y", "yes", False),
        ("N", "no", False),
        ("A", None, False),
        ("Yesterday", None, False),
        ("nothing", None, False),
        ("", None, False),
    ],
)
def test_yes_and_no(text, found, bare):
    assert yes_no.read(text) == found and yes_no.bare(text) == bare


def test_anls_by_hand():
    assert anls.distance("kitten", "sitting") == 3 and anls.distance("", "abc") == 3
    assert anls.score("Kitten", ["sitting"]) == pytest.approx(1 - 3 / 7)
    assert anls.score("  KITTEN ", ["dog", "kitten"]) == 1.0
    assert anls.score("kit", ["sitting"]) == 0.0  # more than half is wrong
    assert anls.score("", [""]) == 0.0 and anls.score("a", []) == 0.0


def test_a_distance_is_the_published_recursion():
    """Against its definition, on random words of three letters."""

    def slow(a, b):
        if not a or not b:
            return len(a) + len(b)
        change = slow(a[1:], b[1:]) + (a[0] != b[0])
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, change)

    rng = np.random.default_rng(0)
    for _ in range(60):
        one, other = ("".join(rng.choice(list("abc"), rng.integers(0, 6))) for _ in range(2))
        assert anls.distance(one, other) == slow(one, other)


def test_people_by_hand():
    """Two of ten said so: a person who did has one other, one who did not has two."""
    ten = ["red"] * 2 + ["blue"] * 8
    assert people.accuracy("red", ten) == pytest.approx((2 * 1 / 3 + 8 * 2 / 3) / 10)
    assert people.accuracy("blue", ten) == 1.0 and people.accuracy("green", ten) == 0.0
    assert people.accuracy("red", ["red"] * 3 + ["a"] * 7) == pytest.approx((3 * 2 / 3 + 7) / 10)


def test_people_are_left_out_one_by_one():
    """Against the evaluation as lmms-eval's TextVQA writes it out."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        ten = [str(w) for w in rng.choice(["red", "blue", "green"], 10, p=[0.2, 0.3, 0.5])]
        rest = [[w for j, w in enumerate(ten) if j != i] for i in range(10)]
        theirs = mean(min(1.0, words.count("red") / 3) for words in rest)
        assert people.accuracy("red", ten) == pytest.approx(theirs)


def test_what_people_are_compared_with():
    ten = ["the red"] * 4 + ["Blue!"] * 6
    assert people.read("Red.", ten) == ("red", 1.0)
    assert people.read("It is red. Answer: blue", ten) == ("blue", 1.0)
    assert people.read("", ten) == ("", 0.0) and normalised("the red") == "red"
