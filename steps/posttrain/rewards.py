"""The verifiable reward: is the answer, read leniently, the right one? And a coin, to compare."""

from typing import Any

import numpy as np

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


class Coin:
    """A reward that knows nothing, 1.0 or 0.0 alike: what it teaches was not learnt from answers.

    The same for a seed, an optimiser step and a sample's place, so that a resumed run agrees.
    """

    __name__ = "coin"  # TRL asks a reward for its name

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, completions: list[Any], trainer_state: Any, **_: Any) -> list[float]:
        """TRL's form of a reward."""
        rng = np.random.default_rng([self.seed, trainer_state.global_step])
        return rng.integers(0, 2, len(completions)).astype(float).tolist()


REWARDS = {"correct": lambda seed: correctness, "random": Coin}
"""Rewards by the name that params.yaml gives them, each made for a seed."""
