"""Which words of any answer depend on the image: the marks of reference answers, for sampled ones.

A word depends on the image if it names something that is to be seen (a colour, a place, a number,
a letter, yes or no) and the prompt does not name it already. Nothing that answers a fact does.
"""

from steps.data.language import COLUMNS, ROWS
from steps.data.questions import ASK, CHOICES
from steps.data.speech import NUMBERS

SIGHT = frozenset(word for answers in CHOICES.values() for word in answers) | {
    *ROWS,
    *COLUMNS,
    *NUMBERS,
    "none",
}
"""Words that say what is to be seen."""


def marks(kind: str, prompt: str, words: list[str]) -> list[int]:
    """1 for each of an answer's words that depends on the image, else 0.

    kind: of a question. prompt: the question, ending in how it wants to be answered. For reference
    answers this gives the column `depends` of the items' tables.
    """
    if kind not in (*CHOICES, "fact"):
        raise ValueError(f"kind = {kind!r}: allowed are {', '.join([*CHOICES, 'fact'])}")
    if kind == "fact":
        return [0] * len(words)
    asked = next(
        (prompt.removesuffix(end) for style in ASK.values() for end in style.values()
         if prompt.endswith(end)),
        prompt,
    )  # fmt: skip
    seen = SIGHT - set(asked.split())
    return [int(word in seen) for word in words]
