"""People: as right as people agree, the accuracy of VQA (Antol et al. 2015, 1505.00468).

With an answer that three others gave a person is wholly right; ten people were asked. An answer's
score is the mean over people left out of min(1, others who said the same / 3).
"""

from collections.abc import Sequence

from steps.data.judge.announce import announced
from steps.data.judge.exact import normalised

ENOUGH = 3
LEAST = 4
"""Answers from which a score of 1 can be reached."""


def accuracy(said: str, answers: Sequence[str]) -> float:
    """The score of a normalised answer among normalised ones, 0 to 1."""
    same = sum(answer == said for answer in answers)
    left = len(answers)
    return (same * min(1, (same - 1) / ENOUGH) + (left - same) * min(1, same / ENOUGH)) / left


def read(text: str, answers: Sequence[str]) -> tuple[str, float]:
    """The answer that a text gives, normalised, and its score.

    It is what the text announces, or all of it: whichever more people said.
    """
    known = [normalised(answer) for answer in answers]
    told = announced(text)
    ways = [normalised(part) for part in (text, *([] if told is None else [told]))]
    scored = [(accuracy(way, known) if way else 0.0, way) for way in reversed(ways)]
    best, said = max(scored, key=lambda pair: pair[0])
    return said, best
