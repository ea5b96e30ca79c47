"""The reward is the lenient parser's verdict."""

from steps.posttrain.rewards import correctness, right


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
