"""Stage 1's mixture of requests about a scene: questions of all kinds in all forms, and captions.

The recipe trains the base on it, and the arm `continue` goes on with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from steps.data.language import View, caption
from steps.data.questions import FORMS, Question, ask, prompt, response
from steps.data.speech import DRAWN, Speech

DESCRIBE = {"a": "describe the picture .", "b": "write down the scene ."}
PRACTISED = ("relation",) * 4
"""What is asked on top in the recipe's last steps."""
TRIES = 16
"""How often a kind is tried on a scene, so that kinds that scenes often refuse are not rare."""


def told(speech: Speech = DRAWN) -> tuple[str, ...]:
    """Kinds to draw from where a story is told.

    Not every scene has a letter to ask for: it is asked for more often where there is one, or
    reading it would be learnt last and hardly.
    """
    return speech.kinds + ("glyph",) * 2 * speech.letters


def shown(speech: Speech = DRAWN) -> tuple[str, ...]:
    """The same where a picture is shown: facts need none."""
    return told(speech) + tuple(k for k in speech.kinds if k != "fact")


def stage1(speech: Speech = DRAWN) -> tuple[str, ...]:
    """The same where the whole model learns from pictures.

    Relations, for which two objects have to be found, are learnt last and need more.
    """
    return shown(speech) + ("relation",) * 3


@dataclass(frozen=True)
class Request:
    """What is asked and the reference response; `question` is None for a caption."""

    prompt: str
    response: str
    style: str
    form: str
    question: Question | None
    depends: list[int]


def put(
    question: Question,
    style: str,
    form: str,
    worded: Callable[[Question, str, str], str] = prompt,
) -> Request:
    """A question in the words of a style and a form, with its reference response.

    worded: what puts the question into words.
    """
    words, depends = response(question, style, form)
    return Request(worded(question, style, form), words, style, form, question, depends)


def request(
    view: View,
    rng: np.random.Generator,
    kinds: tuple[str, ...],
    style_b: float,
    captions: float,
) -> Request | None:
    """A random request about a scene, None where the scene allows no such question.

    kinds: drawn from with equal chances. style_b, captions: shares of style b and of captions.
    """
    style = "b" if rng.random() < style_b else "a"
    if rng.random() < captions:
        words = caption(view, style)
        return Request(DESCRIBE[style], words, style, "caption", None, [])
    kind = kinds[rng.integers(len(kinds))]
    form = FORMS[rng.integers(len(FORMS))]
    for _ in range(TRIES):
        question = ask(view, kind, rng)
        if question is not None:
            return put(question, style, form)
    return None
