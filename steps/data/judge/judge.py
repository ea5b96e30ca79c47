"""Which answers are right: the world's questions by their closed sets, others by their reward.

A table of one's own items has a column `reward`, a name in BUILT or that of a function of one's
own; beside it lies reward.json, and the function's file as it was when the items were made.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from steps.data import parse
from steps.data.judge import choice, exact, iou, numeric
from steps.data.judge.announce import kept
from steps.data.judge.function import load
from steps.stage import StageError

BUILT = ("exact", "choice", "numeric", "iou", "open")
"""Rewards that need no file; `open` is that of answers that nothing can judge."""
SETTINGS, FILE = "reward.json", "reward.py"
PASSED = 0.5
"""A score from which an answer counts as right, where right or wrong is asked."""


def called(reward: Any, name: str, completions: list[Any], /, **columns: Any) -> np.ndarray:
    """What a reward in TRL's form gives for answers, float [N].

    Raises StageError with the answers' beginning where it raises, or gives another number of them.
    """
    try:
        given = np.asarray(reward(completions=completions, **columns), float)
    except Exception as error:
        first = repr(completions[:1])[:200]
        raise StageError(
            f"the reward {name} failed on {len(completions)} answers ({first} ...): "
            f"{type(error).__name__}: {error}"
        ) from error
    if given.shape != (len(completions),):
        raise StageError(
            f"the reward {name} gave {given.size} values for {len(completions)} answers: it has to "
            "give one for each"
        )
    return given


class Judge:
    """Judges answers to the questions of one items folder, row by row of its tables."""

    def __init__(self, items: Path | None = None) -> None:
        self.tolerance, self.own = 0.0, None
        path = items / SETTINGS if items is not None else None
        if path is not None and path.is_file():
            told = json.loads(path.read_text())
            self.tolerance = told["tolerance"]
            if told["function"] is not None:
                self.own = load(path.with_name(FILE), told["function"])

    def scores(self, rows: Sequence[Any], texts: Sequence[str]) -> np.ndarray:
        """How right each text is, 0 to 1, float64 [N]; rows: of the questions, as itertuples."""
        given = np.zeros(len(rows))
        mine = [i for i, row in enumerate(rows) if name(row) not in (None, *BUILT)]
        if mine:
            given[mine] = self._asked([rows[i] for i in mine], [texts[i] for i in mine])
        others = set(range(len(rows))) - set(mine)
        for i in others:
            given[i] = self._right(rows[i], texts[i])
        return given

    def right(self, row: Any, text: str) -> bool:
        """Whether a text is right, read leniently."""
        return bool(self.scores([row], [text])[0] >= PASSED)

    def read(self, row: Any, text: str) -> str | None:
        """The answer that a text is read to give, None where it gives none."""
        match name(row):
            case None:
                return parse.lenient(text, list(row.choices))
            case "choice":
                return choice.read(text, list(row.choices))
            case "numeric":
                found = numeric.read(text)
                return f"{found[0]:g}{'%' if found[1] else ''}" if found else None
            case "iou":
                box = iou.box(text)
                return None if box is None else str([round(n, 3) for n in box])
            case "exact":
                return exact.read(text, row.value) or None
        return text.strip() or None

    def strict(self, row: Any, text: str) -> tuple[bool, float]:
        """Whether a text has the form that was asked for, and its score if it has, else 0.

        For one's own items: the answer and nothing else, or as the prompt asks (`announce.kept`).
        A function of one's own and open questions judge no form.
        """
        reward = name(row)
        if reward is None:
            word = parse.strict(text, row.style, row.form)
            return word is not None, float(word == row.value)
        if reward not in BUILT or reward == "open":
            return True, float(self.scores([row], [text])[0])
        part = kept(text, row.prompt)
        formed = part is not None and _bare(reward, row, part)
        return formed, float(self._right(row, part)) if formed and part is not None else 0.0

    def _right(self, row: Any, text: str) -> bool:
        match name(row):
            case None | "choice":
                return self.read(row, text) == row.value
            case "numeric":
                return numeric.right(text, row.value, self.tolerance)
            case "iou":
                return iou.right(text, row.value)
            case "exact":
                return exact.right(text, row.value)
        return False

    def _asked(self, rows: list[Any], texts: list[str]) -> np.ndarray:
        """What a function of one's own says, checked: as TRL calls one, with plain texts."""
        asked = rows[0].reward
        if self.own is None:
            raise StageError(
                f"the reward {asked} is none of {', '.join(BUILT)}, and its file is not beside the "
                "items: make the items again"
            )
        columns = {
            "prompts": [row.prompt for row in rows],
            "answer": [row.value for row in rows],
            "choices": [list(row.choices) for row in rows],
            "item": [row.item for row in rows],
            "kind": [row.kind for row in rows],
        }
        given = called(self.own, asked, list(texts), **columns)
        bad = given[np.isfinite(given) & ((given < 0) | (given > 1))]
        if len(bad):
            raise StageError(
                f"the reward {asked} gave {bad[0]:g}: give numbers from 0 (wrong) to 1 (right), "
                "which is how answers are counted too"
            )
        return given


def name(row: Any) -> str | None:
    """The reward of a row, None for the world's own questions."""
    return getattr(row, "reward", None)


def _bare(reward: str, row: Any, text: str) -> bool:
    """Whether a text is an answer and nothing else, right or wrong."""
    if reward == "exact":
        return 0 < len(text.split()) <= max(3, 2 * len(row.value.split()))
    if reward == "choice":
        meant = choice.chosen(text, list(row.choices))
        return meant is not None
    if reward == "numeric":
        return numeric.bare(text)
    return text.startswith("[") and text.endswith("]") and iou.box(text) is not None
