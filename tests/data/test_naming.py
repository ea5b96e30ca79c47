"""Labels are asked for in questions that training asks, and answers are put together."""

import numpy as np
import pytest

from steps.data import questions as q
from steps.data.language import COLOR_NAMES, NUMBERS, View, vocabulary
from steps.data.naming import named, naming
from steps.data.probes import TIERS
from steps.data.world import sample
from steps.stage import StageError


@pytest.mark.parametrize("label", TIERS["asked"])
def test_every_question_is_one_that_training_asks(world, label):
    """The wording of `questions.ask` for the very scene, and the answer that it gives."""
    few = world.model_copy(update={"objects": (1, 3)})
    scenes = sample(few, np.random.default_rng(0), 12, "train", main=True)
    known = set(vocabulary())
    for i in range(12):
        view = View(scenes, i)
        main = view.size.index("large")
        seen = {"shape": view.shape[main], "color": view.color[main], "count": NUMBERS[len(view)]}
        rng = np.random.default_rng(i)
        asked = [q.ask(view, label, rng) for _ in range(1500)]
        trained = {q.prompt(one, "a", "word"): one.value for one in asked if one}
        answers = []
        for question in naming(label, seen):
            prompt = q.prompt(question, "a", "word")
            assert prompt in trained and set(prompt.split()) <= known
            assert trained[prompt] in question.choices
            assert question.value in ("", trained[prompt])
            answers.append(trained[prompt])
        assert named(answers) == seen[label]


def test_answers_add_up_only_where_all_of_them_count():
    assert named(["ring"]) == "ring" and named([None]) is None
    assert named(["one", "zero", "two"]) == "three" and named(["zero", "zero"]) == "zero"
    assert named(["one", None]) is named(["one", "red"]) is named(["five", "one"]) is None


def test_counts_are_those_of_every_colour():
    subjects = [question.subject[0] for question in naming("count", {})]
    assert subjects == [f"{color} objects" for color in COLOR_NAMES]


def test_a_label_without_a_question_is_refused():
    with pytest.raises(StageError, match="the label texture .* leave forget out"):
        naming("texture", {"texture": "plain"})
