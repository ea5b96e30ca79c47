"""Labels are asked for in questions that training asks, and answers are put together."""

import numpy as np
import pytest

from steps.data import questions as q
from steps.data.language import View, vocabulary
from steps.data.naming import named, naming
from steps.data.probes import tiers
from steps.data.speech import DRAWN, NUMBERS, of, photographs
from steps.data.world import sample
from steps.stage import StageError


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("drawn", "shape"),
        ("drawn", "color"),
        ("drawn", "count"),
        ("photos", "category"),
        ("photos", "count"),
    ],
)
def test_every_question_is_one_that_training_asks(world, photographed, kind, label):
    """The wording of `questions.ask` for the very scene, and the answer that it gives."""
    world = world if kind == "drawn" else photographed
    assert label in tiers(world)["asked"]
    few = world.model_copy(update={"objects": (1, 3)})
    scenes = sample(few, np.random.default_rng(0), 12, "train", main=True)
    known = set(vocabulary(of(world)))
    for i in range(12):
        view = View(scenes, i)
        main = view.look["size"].index("large")
        seen = {name: values[main] for name, values in view.look.items()}
        seen["count"] = NUMBERS[len(view)]
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


def test_counts_are_those_of_every_colour_or_category():
    for seen, speech in (({"color": "red"}, DRAWN), ({"category": "food"}, photographs())):
        subjects = [question.subject[0] for question in naming("count", seen)]
        assert subjects == [f"{word} objects" for word in speech.adjectives]


def test_a_label_without_a_question_is_refused():
    with pytest.raises(StageError, match="the label texture .* leave forget out"):
        naming("texture", {"texture": "plain"})
