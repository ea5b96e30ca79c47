"""The verifiable reward: is the answer, read leniently, the right one?"""

from typing import Any

from steps.data import parse


def right(text: str, value: str, choices: list[str]) -> bool:
    """Whether the lenient parser reads `value` off `text`; what it cannot read is wrong."""
    return parse.lenient(text, list(choices)) == value


def correctness(
    completions: list[list[dict[str, str]]],
    value: list[str],
    choices: list[list[str]],
    **_: Any,
) -> list[float]:
    """TRL's form of it: 1.0 or 0.0 for each sampled answer.

    completions: conversations of one assistant's turn. value, choices: columns of the questions,
    repeated for each sample of a group.
    """
    return [
        float(right(talk[0]["content"], v, c))
        for talk, v, c in zip(completions, value, choices, strict=True)
    ]
