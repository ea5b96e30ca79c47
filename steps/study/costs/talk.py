"""How many tokens questions and answers have: of a few that are drawn, or as one says.

A plan is made before any item is there. Items of the world are drawn here, as the stage `items`
draws them, and read by the base's own tokenizer; where that is not at hand, a word is taken to be
WORD tokens.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from steps.study.costs.shapes import Shape

DRAWN = 96
WORD, FRAME = 1.3, 20
"""Tokens a word, and of a chat template around it, where there is no tokenizer to ask."""


@dataclass(frozen=True)
class Talk:
    """Mean tokens of a question in its template (asked), of an answer (said), of a scene in words.

    An image's are left out. longest: of an answer. source: how they are known.
    """

    asked: float
    said: float
    longest: float
    told: float
    source: str


def talk(params: Any, shape: Shape, said: tuple[float, float] | None = None) -> Talk:
    """Lengths of a study's training questions. said: tokens of a question and of an answer."""
    if said:
        return Talk(said[0], said[1], 2 * said[1], said[0] + said[1], "as given")
    rows = _drawn(params)
    told = [len(row["twin"].split()) for row in rows]
    prompts, answers = [r["prompt"] for r in rows], [r["response"] for r in rows]
    processor, ratio = _processor(params, shape), 1.0
    if processor is None:
        ratio = WORD
        asked = np.array([WORD * len(text.split()) + FRAME for text in prompts])
        spoken = np.array([WORD * len(text.split()) + 1 for text in answers])
    else:
        from steps.posttrain import budget

        asked = budget.lengths(processor, 1, prompts, [""] * len(rows)) - 1
        spoken = budget.lengths(processor, 1, prompts, answers) - 1 - asked
    source = f"{DRAWN} questions drawn" + ("" if processor else f", {WORD} tokens a word")
    figures = asked.mean(), spoken.mean(), spoken.max(), ratio * np.mean(told)
    return Talk(*(float(value) for value in figures), source)


def _drawn(params: Any) -> list[dict[str, Any]]:
    """A few of the world's training questions, as the stage `items` makes them."""
    import json

    from steps.data.items import draw
    from steps.data.language import told

    rng = np.random.default_rng([params.seeds[0], 0])
    rows, _ = draw(params.world, rng, DRAWN, "train", False, params.items.style_b)
    return [row | {"twin": told(json.loads(row["truth"])["things"])} for row in rows]


def _processor(params: Any, shape: Shape) -> Any:
    if shape.source == "recipe.model":
        from steps.data.language import vocabulary
        from steps.data.speech import of
        from steps.models import build

        world = params.world
        return build.processor(world.canvas, world.patch, vocabulary(of(world)))
    if shape.folder is None or not (shape.folder / "tokenizer.json").is_file():
        return None
    from steps.models import load

    try:
        return load.processor(shape.folder)
    except (OSError, ValueError):  # of another family: its words are estimated
        return None
