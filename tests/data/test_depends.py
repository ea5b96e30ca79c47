"""Marks of any answer: those of reference answers word by word, and sensible ones for others."""

import numpy as np
import pytest

from steps.data import items
from steps.data.depends import marks
from steps.data.speech import of


@pytest.mark.parametrize(("split", "novel"), [("train", False), ("test", True)])
@pytest.mark.parametrize("kind", ["drawn", "photos"])
def test_reference_answers_have_the_marks_that_items_record(
    world, photographed, kind, split, novel
):
    world = world if kind == "drawn" else photographed
    rows, _ = items.draw(world, np.random.default_rng(0), 800, split, novel, 0.6)
    assert {row["kind"] for row in rows} == set(of(world).kinds)
    assert {row["form"] for row in rows} == {"rationale", "answer", "word"}
    for row in rows:
        assert marks(row["kind"], row["prompt"], row["response"].split()) == row["depends"]


def test_wrong_answers_depend_on_the_image_as_right_ones_do():
    asked = "what color is the large square ? explain first ."
    said = "the large square is at the top left . it is blue . answer : green".split()
    found = [word for word, mark in zip(said, marks("color", asked, said), strict=True) if mark]
    assert found == ["top", "left", "blue", "green"]


def test_how_an_answer_is_asked_for_names_nothing():
    """`one word .` is not the number one."""
    assert marks("count", "how many red objects are there ? one word .", ["one"]) == [1]


def test_facts_need_no_image_and_kinds_are_known():
    assert marks("fact", "what color has a ruby ? one word .", ["red"]) == [0]
    with pytest.raises(ValueError, match="kind"):
        marks("caption", "", [])
