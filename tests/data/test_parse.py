"""What is read off an answer."""

import numpy as np
import pytest

from steps.data import parse
from steps.data.language import View
from steps.data.questions import CHOICES, FORMS, ask, response
from steps.data.speech import DRAWN
from steps.data.world import sample
from steps.params import load

COLORS = CHOICES["color"]


@pytest.mark.parametrize(
    "text, word",
    [
        ("red", "red"),
        ("answer : red", "red"),
        ("the answer is red", "red"),
        ("red and blue", "blue"),
        ("the red square is blue . answer : green", "green"),
        ("answer : red blue", "red"),
        ("answer : red . the answer is blue", "blue"),
        ("it is green . answer :", "green"),
        ("answer : large", None),
        ("", None),
    ],
)
def test_lenient(text, word):
    assert parse.lenient(text, COLORS) == word


@pytest.mark.parametrize(
    "text, style, form, word",
    [
        ("red", "a", "word", "red"),
        ("red red", "a", "word", None),
        ("answer : red", "a", "word", None),
        ("answer : red", "a", "answer", "red"),
        ("answer : red", "b", "answer", None),
        ("the answer is red", "b", "answer", "red"),
        ("it is red . answer : red", "a", "answer", None),
        ("it is red . answer : red", "a", "rationale", "red"),
        ("it is red answer : red", "a", "rationale", None),
        ("answer : red", "a", "rationale", None),
        (". answer : red", "a", "rationale", None),
        ("answer :", "a", "answer", None),
        ("", "a", "word", None),
    ],
)
def test_strict(text, style, form, word):
    assert parse.strict(text, style, form) == word


@pytest.mark.parametrize(
    "text, before",
    [
        ("it is red . answer : red", "it is red ."),
        ("it is red the answer is red", "it is red"),
        ("answer : red . the answer is blue", "answer : red ."),
        ("it is red . it is small red", "it is red"),
        ("answer : red .", ""),
        ("red", ""),
        ("", ""),
    ],
)
def test_rationale(text, before):
    assert parse.rationale(text) == before.split()


def test_every_reference_response_is_read_both_ways():
    rng = np.random.default_rng(0)
    scenes, read = sample(load().world, rng, 40, "train"), 0
    for i in range(40):
        for kind in DRAWN.kinds:
            question = ask(View(scenes, i), kind, rng)
            for style in "ab" if question else "":
                for form in FORMS:
                    text, _ = response(question, style, form)
                    assert parse.lenient(text, question.choices) == question.value, text
                    assert parse.strict(text, style, form) == question.value, text
                    others = [f for f in FORMS if f != form]
                    assert all(parse.strict(text, style, f) is None for f in others)
                    read += 1
    assert read > 500
