"""The verifiable reward: is the answer, read leniently, the right one? And a coin, to compare.

What is right is what `steps.data.judge` says: of the world's questions, whether the closed set's
right word is read off; of one's own, what their reward says.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from steps.data import parse
from steps.data.judge.judge import Judge, called
from steps.stage import StageError

TOLD = ("value", "choices", "reward", "item", "kind")
"""Columns of one's own questions that their reward reads."""


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


class Judged:
    """The same of one's own questions: what their reward says, 0 to 1."""

    __name__ = "correctness"

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def __call__(
        self, completions: list[list[dict[str, str]]], prompts: list[Any], **columns: Any
    ) -> list[float]:
        """TRL's form of it; columns: those of TOLD."""
        told = zip(*(columns[name] for name in TOLD), strict=True)
        rows = [SimpleNamespace(**dict(zip(TOLD, row, strict=True))) for row in told]
        for row, prompt in zip(rows, prompts, strict=True):
            row.prompt = _asked(prompt)
        return self.judge.scores(rows, [talk[0]["content"] for talk in completions]).tolist()


def _asked(prompt: list[dict[str, Any]]) -> str:
    """The text of a conversation's last turn, which may also hold an image."""
    content = prompt[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


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


class Guarded:
    """A reward that says what went wrong, and never gives what is not a number.

    Not finite: 0, and its share is logged as `reward/not_finite`. Raised: StageError with the
    answers' beginning. A wrong number of rewards: StageError.
    """

    def __init__(self, reward: Callable[..., list[float]]) -> None:
        self.reward, self.__name__ = reward, reward.__name__

    def __call__(
        self, completions: list[Any], log_metric: Callable[..., None] | None = None, **columns: Any
    ) -> list[float]:
        """TRL's form of a reward."""
        given = called(self.reward, self.__name__, completions, **columns)
        bad = ~np.isfinite(given)
        if log_metric is not None:
            log_metric("reward/not_finite", float(bad.mean()))
        return np.where(bad, 0.0, given).tolist()


def named(
    name: str, seed: int, folder: Path | None = None, items: pd.DataFrame | None = None
) -> Guarded:
    """The reward that params.yaml calls `name`, for one seed.

    folder: of the questions. items: those to be rewarded; where they have a column `reward` they
    are one's own. Raises StageError where some have no answer that can be right.
    """
    if name != "correct":
        return Guarded(Coin(seed))
    if items is None or "reward" not in items:
        return Guarded(correctness)
    if count := int((items["reward"] == "open").sum()):
        raise StageError(
            f"{count} of {len(items)} training items have no answer that can be right or wrong: "
            "give a data.reward that fits all, data that has such answers, or leave grpo out"
        )
    return Guarded(Judged(Judge(folder)))
