"""Yes or no: as a text begins, or as the only one of the two words that it names."""

import re

from steps.data.judge.announce import announced

VALUES = ("yes", "no")
_SHORT = {"y": "yes", "n": "no"}
_WORD = re.compile(r"\w+")


def read(text: str) -> str | None:
    """The answer that a text gives, None where it gives none.

    Read is what the text announces, else all of it: its first word if that is yes or no (y and n
    where they stand alone), else whichever of the two it names without the other.
    """
    told = announced(text)
    words = _WORD.findall((text if told is None else told).lower())
    if len(words) == 1:
        words = [_SHORT.get(words[0], words[0])]
    if words[:1] and words[0] in VALUES:
        return words[0]
    named = set(words) & set(VALUES)
    return named.pop() if len(named) == 1 else None


def bare(text: str) -> bool:
    """Whether a text is yes or no and nothing else but a full stop."""
    return text.strip().removesuffix(".").lower() in VALUES
