"""Each reward, case by case: what is right, what is wrong, and what is read."""

from types import SimpleNamespace

import numpy as np
import pytest

from steps.data.judge import choice, exact, iou, numeric
from steps.data.judge.announce import announced, kept
from steps.data.judge.function import load
from steps.data.judge.judge import Judge
from steps.stage import StageError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is blue. Final answer: **red**", "red"),
        ("Answer: a\nno, wait\nThe answer is b.", "b."),
        ("Answer:\n 5\nbecause", "5"),
        (r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{2", "1"),
        ("<think>no</think><answer> yes </answer>", "yes"),
        ("I answered it", None),
        ("", None),
    ],
)
def test_what_is_announced(text, found):
    assert announced(text) == found


@pytest.mark.parametrize(
    ("said", "true", "right"),
    [
        ("The Cat", "cat", True),
        ("two dogs!", "2 dogs", True),
        ("don't", "dont", True),
        ("1,000", "1000", True),
        ("10,5", "105", False),
        ("3.5", "3.5", True),
        ("3.5.", "3.5", True),
        ("3 5", "3.5", False),
        ("a", "a", True),
        ("b", "a", False),
        ("it is a cat", "cat", False),
        ("It is brown. Answer: cat", "cat", True),
        ("The answer is dog", "cat", False),
        ("", "", False),
        ("-5", "5", False),
    ],
)
def test_exact_compares_as_vqa_does(said, true, right):
    assert exact.right(said, true) == right


def test_vqa_s_own_normalisation_agrees():
    """On words without apostrophes, with the steps of the published evaluation written out."""
    import re

    def theirs(text):
        marks = [";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<"]
        marks += ["@", "`", ",", "?", "!"]
        whole = text
        for mark in marks:
            if f"{mark} " in text or f" {mark}" in text or re.search(r"(\d)(,)(\d)", text):
                whole = whole.replace(mark, "")
            else:
                whole = whole.replace(mark, " ")
        whole = re.sub(r"(?!<=\d)(\.)(?!\d)", "", whole)
        words = [exact.NUMBERS.get(word, word) for word in whole.lower().split()]
        return " ".join(word for word in words if word not in ("a", "an", "the"))

    for text in ["A red car.", "Yes!", "two", "The left one, please", "12.5", "North America"]:
        assert exact.normalised(text) == theirs(text)


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("What is it?\nA. red\nB. dark blue\nC. green", ["red", "dark blue", "green"]),
        ("Which? (A) a cat (B) a dog\nAnswer with the letter.", ["a cat", "a dog"]),
        ("Choices:\nA) 1,000\nB) 2.5 cm\n", ["1,000", "2.5 cm"]),
        ("Given A. and C. what?", []),
        ("A. only one", []),
        ("nothing here", []),
    ],
)
def test_options_are_found_in_a_prompt(prompt, options):
    assert choice.listed(prompt) == options


COLOURS = ["red", "dark red", "blue"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("B", "dark red"),
        ("(c)", "blue"),
        ("C. blue", "blue"),
        ("The answer is (A) because", "red"),
        ("option C", "blue"),
        ("it is dark red", "dark red"),
        ("I thought red, but it is blue", "blue"),
        ("Answer: blue, not red", "blue"),
        ("A nice picture", None),
        ("green", None),
        ("D", None),
        ("reddish", None),
        ("", None),
    ],
)
def test_the_option_that_is_named(text, found):
    assert choice.read(text, COLOURS) == found


@pytest.mark.parametrize(
    ("given", "meant"),
    [(1, "dark red"), (True, "dark red"), ("b", "dark red"), ("Blue.", "blue"), (3, None),
     ("(C)", "blue"), ("pink", None)],
)  # fmt: skip
def test_what_a_data_set_s_answer_means(given, meant):
    assert choice.chosen(given, COLOURS) == meant


@pytest.mark.parametrize(
    ("said", "true", "tolerance", "right"),
    [
        ("1,000", "1000", 0, True),
        ("50%", "0.5", 0, True),
        ("50", "50%", 0, True),
        ("0.5", "50 percent", 0, True),
        ("50%", "5", 0, False),
        ("3/4", "0.75", 0, True),
        (r"\frac{3}{4}", "3/4", 0, True),
        ("1 1/2", "1.5", 0, True),
        ("\u22123", "-3", 0, True),
        ("3", "-3", 0, False),
        ("1e3", "1000", 0, True),
        ("first 7, then 12 apples", "12", 0, True),
        ("the answer is 7, not 12", "7", 0, True),
        (r"\boxed{7} of 12", "7", 0, True),
        ("104", "100", 0.05, True),
        ("106", "100", 0.05, False),
        ("101", "100", 0, False),
        ("0", "0", 0.05, True),
        ("0.01", "0", 0.05, False),
        ("three", "3", 0, True),
        ("1/0", "3", 0, False),
        ("none at all", "3", 0, False),
        ("", "3", 0, False),
    ],
)
def test_numbers_however_they_are_written(said, true, tolerance, right):
    assert numeric.right(said, true, tolerance) == right


def test_a_true_answer_is_one_number():
    assert numeric.single("5 apples") == (5.0, False)
    assert numeric.single("3 or 4") is None and numeric.single("red") is None
    assert all(map(numeric.bare, ["5", "-5.", r"$17^\circ$", "50%", r"\frac{1}{2}", "1 1/2"]))
    assert not any(map(numeric.bare, ["x+1", "5 apples", "3 or 4", "", "2x"]))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("[0.1, 0.1, 0.5, 0.5]", True),
        ("the box is (100, 100, 500, 500)", True),  # thousandths
        ("<box>[[100, 100, 500, 500]]</box>", True),
        ("[0.1, 0.1, 0.5, 0.29]", False),
        ("0.1 0.1 0.5 0.5", True),
        ("[0.5, 0.5, 0.1, 0.1]", False),  # turned inside out
        ("[0.1, 0.1]", False),
        ("nowhere", False),
    ],
)
def test_a_box_on_the_true_one(text, right):
    assert iou.right(text, "[0.100, 0.100, 0.500, 0.500]") == right


def test_overlap_by_hand():
    assert iou.overlap((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert iou.overlap((0, 0, 1, 1), (2, 2, 3, 3)) == 0
    # halves of a square that meet: exactly the half that is enough
    assert iou.right("[0, 0, 1, 0.5]", "[0, 0, 1, 1]")


def row(reward, value, choices=(), prompt="what ?"):
    told = {"reward": reward, "value": value, "choices": list(choices), "prompt": prompt}
    return SimpleNamespace(item="q", kind="own", style="own", form="own", **told)


@pytest.mark.parametrize(
    ("one", "text", "formed", "score"),
    [
        (row("exact", "cat"), "cat", True, 1),
        (row("exact", "cat"), "dog", True, 0),
        (row("exact", "cat"), "I am sure that it is this: answer: cat", False, 0),
        (row("exact", "cat", prompt="End with 'Final answer: ...'"), "so\nFinal answer: cat", 1, 1),
        (row("exact", "cat", prompt="End with 'Final answer: ...'"), "cat", False, 0),
        (row("choice", "blue", COLOURS), "C", True, 1),
        (row("choice", "blue", COLOURS), "blue, I think", False, 0),
        (row("numeric", "5"), "5", True, 1),
        (row("numeric", "5"), "5 apples", False, 0),
        (row("numeric", "5", prompt=r"Put it into \boxed{}."), r"well, \boxed{5}", True, 1),
        (row("numeric", "5", prompt=r"Put it into \boxed{}."), "5", False, 0),
        (row("iou", "[0.1, 0.1, 0.5, 0.5]"), "[0.1, 0.1, 0.5, 0.5]", True, 1),
        (row("iou", "[0.1, 0.1, 0.5, 0.5]"), "at [0.1, 0.1, 0.5, 0.5]", False, 0),
    ],
)
def test_form_is_judged_apart(one, text, formed, score):
    assert Judge().strict(one, text) == (bool(formed), score)


def test_what_is_read_is_what_is_judged():
    judge = Judge()
    assert judge.read(row("choice", "blue", COLOURS), "(B)") == "dark red"
    assert judge.read(row("numeric", "5"), "about 50%") == "50%"
    assert judge.read(row("exact", "cat"), "The Dog.") == "dog"
    assert judge.read(row("iou", ""), "[0.1, 0.2, 0.3, 0.4]") == "[0.1, 0.2, 0.3, 0.4]"
    assert judge.scores([row("open", "")], ["anything"]).tolist() == [0]


def test_the_world_s_questions_are_judged_as_ever():
    told = SimpleNamespace(value="red", choices=["red", "blue"], style="a", form="answer")
    judge = Judge()
    assert judge.scores([told] * 3, ["answer : red", "blue", "it is red"]).tolist() == [1, 0, 1]
    assert judge.strict(told, "answer : red") == (True, 1)
    assert judge.strict(told, "it is red") == (False, 0)


OWN = """
def near(completions, answer, prompts, choices, item, kind, **columns):
    return [1 - abs(float(c) - float(a)) / 10 for c, a in zip(completions, answer)]

def wild(completions, **columns):
    return [2.0] * len(completions)

def few(completions, **columns):
    return [1.0]

def broken(completions, **columns):
    return [float(c) for c in completions]

def odd(completions, **columns):
    return [float("nan")] * len(completions)
"""


@pytest.fixture
def folder(tmp_path):
    """A function: an items folder whose reward is a function of OWN."""

    def make(function):
        (tmp_path / "reward.py").write_text(OWN)
        told = f'{{"reward": ["x.py:{function}"], "tolerance": 0, "function": "{function}"}}'
        (tmp_path / "reward.json").write_text(told)
        return tmp_path

    return make


def test_a_function_of_one_s_own_is_asked_in_one_call(folder):
    judge = Judge(folder("near"))
    rows = [row("x.py:near", "5"), row("exact", "cat"), row("x.py:near", "7")]
    assert judge.scores(rows, ["5", "cat", "2"]).tolist() == [1, 1, 0.5]
    assert judge.strict(rows[0], "6") == (True, 0.9) and judge.right(rows[2], "2")
    assert np.isnan(Judge(folder("odd")).scores(rows[:1], ["5"])[0])


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("wild", r"x\.py:wild gave 2: give numbers from 0 \(wrong\) to 1"),
        ("few", "x.py:few gave 1 values for 2 answers"),
        ("broken", r"x\.py:broken failed on 2 answers .*ValueError: could not convert"),
    ],
)
def test_a_function_that_does_not_do_it_says_so(folder, function, said):
    rows = [row(f"x.py:{function}", "5")] * 2
    with pytest.raises(StageError, match=said):
        Judge(folder(function)).scores(rows, ["a", "b"])


def test_a_reward_file_is_that_file_and_can_be_run(tmp_path, monkeypatch):
    here, there = tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"
    for place, path in enumerate((here, there)):
        path.parent.mkdir()
        path.write_text(f"def f(completions, **columns):\n    return {place}\n")
    monkeypatch.syspath_prepend(here.parent)
    assert load(there, "f")([]) == 1
    with pytest.raises(StageError, match=r"mine\.py has no function g; there are f"):
        load(there, "g")
    with pytest.raises(StageError, match=r"there is no file .*none\.py: give the path"):
        load(tmp_path / "none.py", "f")
    there.write_text("def f(:\n")
    with pytest.raises(StageError, match="is not Python"):
        load(there, "f")
    there.write_text("import nowhere_to_be_found\ndef f(): pass\n")
    with pytest.raises(StageError, match="cannot be run .*nowhere_to_be_found"):
        load(there, "f")


@pytest.mark.parametrize(
    ("text", "prompt", "found"),
    [
        ("a\nAnswer: b", "Give 'Answer: ...'", "b"),
        ("Answer: b\nreally", "Give 'Answer: ...'", None),
        (r"\boxed{1} or \boxed{2}", r"in \boxed{}", None),
        (r"it is \boxed{2}.", r"in \boxed{}", "2"),
        (" b ", "what ?", "b"),
    ],
)
def test_the_form_that_a_prompt_asks_for(text, prompt, found):
    assert kept(text, prompt) == found
