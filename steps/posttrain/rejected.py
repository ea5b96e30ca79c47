"""Rejected answers of three kinds, in the mixture of MMPR (Wang et al. 2024, 2411.10442, 3.1).

`wrong`: an answer of the base that reads the image wrongly. `continuation`: the right response's
beginning, gone on with by the base without the image (MMPR's DropoutNTP). `format`: the right
answer in another form than the one asked for.
"""

from collections.abc import Callable

import numpy as np

from steps.data.questions import LEAD
from steps.posttrain.rewards import right as by_the_world


def shares(mix: dict[str, float], count: int) -> dict[str, int]:
    """`count` items dealt out by shares that sum to 1, the left-over ones by largest remainder."""
    exact = {kind: share * count for kind, share in mix.items()}
    dealt = {kind: int(e + 1e-9) for kind, e in exact.items()}
    most_left = sorted(exact, key=lambda kind: dealt[kind] - exact[kind])  # ties: as in `mix`
    for kind in most_left[: count - sum(dealt.values())]:
        dealt[kind] += 1
    return dealt


def assign(mix: dict[str, float], count: int, seed: int) -> list[str]:
    """A kind for each of `count` items: the counts of `shares`, dealt in a seeded order."""
    deck = [kind for kind, number in shares(mix, count).items() for _ in range(number)]
    kinds = np.empty(count, dtype=object)
    kinds[np.random.default_rng([seed, count]).permutation(count)] = deck
    return kinds.tolist()


def beginning(response: str) -> str:
    """The first half of a response's words, as DropoutNTP cuts it; none of a single word."""
    words = response.split()
    return " ".join(words[: len(words) // 2])


Right = Callable[[str, str, list[str]], bool]
"""Whether a text gives the value, one of the choices."""


def misread(
    draws: list[str], response: str, value: str, choices: list[str], right: Right = by_the_world
) -> str | None:
    """The first draw that gives a wrong answer, else the first unreadable one, else None."""
    missed = [t for t in draws if t and t != response and not right(t, value, choices)]
    readable = [text for text in missed if any(right(text, c, choices) for c in choices)]
    return next(iter(readable + missed), None)


def gone_on(
    draws: list[str], response: str, value: str, choices: list[str], right: Right = by_the_world
) -> str | None:
    """The first blind continuation with a wrong answer, else the first that differs, else None."""
    differ = [text for text in draws if text and text != response]
    wrong = [text for text in differ if not right(text, value, choices)]
    return next(iter(wrong + differ), None)


def reformed(style: str, form: str, value: str, response: str = "") -> str:
    """The right answer in another form: a phrase turned into one word, all else into a phrase.

    Of one's own questions (style `own`), whose forms are not known, by what the response is.
    """
    if style not in LEAD:
        return value if value != response else LEAD["b"] + value
    return value if form == "answer" else LEAD[style] + value
