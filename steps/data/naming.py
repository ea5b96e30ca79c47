"""The questions that ask a model for a label of a whole image, in words that it was trained on.

Labels are those of a scene with one large object (`steps.data.probes`). Its shape and its colour
are asked for by the size and the other of the two, as training does, which leaves no doubt about
the object meant; the category of a photograph by its size alone. No question of the world asks how
many objects there are in all, and a base takes one that does for something else (the bundled one
says `zero` to half of these scenes): but all objects have a colour, or a category, so those of each
are counted, and the answers added up.
"""

from collections.abc import Mapping, Sequence

from steps.data.questions import Question
from steps.data.speech import DRAWN, NUMBERS, photographs
from steps.stage import StageError


def naming(label: str, seen: Mapping[str, str]) -> list[Question]:
    """The questions whose answers tell a label together; `named` puts them together.

    seen: the scene's labels by name. A question's value is empty where these do not tell it.
    Raises StageError for a label that no question asks for.
    """
    if label == "count":
        speech = photographs() if "category" in seen else DRAWN
        return [_question(label, "", f"{word} objects") for word in speech.adjectives]
    if label == "shape":
        return [_question(label, seen[label], f"large {seen['color']} object")]
    if label == "color":
        return [_question(label, seen[label], f"large {seen['shape']}")]
    if label == "category":
        return [_question(label, seen[label], "large object")]
    raise StageError(
        f"the label {label} of the probes' images is one that no question asks for: leave forget "
        "out of `instruments`"
    )


def _question(kind: str, value: str, subject: str) -> Question:
    return Question(kind, value, (subject,), "", frozenset())


def named(words: Sequence[str | None]) -> str | None:
    """What the answers to `naming`'s questions say together: the one word, or a sum of counts.

    None where one of several says no number, or where the sum has no word.
    """
    if len(words) == 1:
        return words[0]
    counts = [NUMBERS.index(word) for word in words if word in NUMBERS]
    whole = len(counts) == len(words) and sum(counts) < len(NUMBERS)
    return NUMBERS[sum(counts)] if whole else None
