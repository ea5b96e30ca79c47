"""ANLS: how near an answer's letters are to a true one's (Biten et al. 2019, 1905.13648).

One minus the edit distance as a share of the longer text, and 0 where that is below one half.
Texts are compared as lmms-eval's `anls` does: lower case, single spaces.
"""

from collections.abc import Sequence

THRESHOLD = 0.5


def distance(one: str, other: str) -> int:
    """Levenshtein's distance: letters put in, taken out or changed (1966)."""
    above = list(range(len(other) + 1))
    for i, mine in enumerate(one, 1):
        row = [i]
        for j, theirs in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (mine != theirs)))
        above = row
    return above[-1]


def score(text: str, values: Sequence[str]) -> float:
    """The best similarity of a text to any of `values`, 0 to 1."""
    return max((_near(_plain(text), _plain(value)) for value in values), default=0.0)


def _near(one: str, other: str) -> float:
    longer = max(len(one), len(other))
    if not longer:
        return 0.0
    if abs(len(one) - len(other)) > (1 - THRESHOLD) * longer:
        return 0.0  # the distance is at least this: no need to count it
    near = 1 - distance(one, other) / longer
    return near if near >= THRESHOLD else 0.0


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
