"""Questions about where one object lies relative to another, with the mirrored twin of each scene.

What a feature or a head has to do with spatial relations is asked with one template throughout, so
that wording cannot tell relations apart, on scenes that no training saw (split `test`). For each:

    the image and its mirror image, with the same prompt: left and right swap, nothing else does;
    the same image with the two objects' names exchanged: the relation turns round, the image stays.

Half of the scenes are to choose features and heads on, the other half to report on.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from steps.data import world as scenes_of
from steps.data.language import View, twin
from steps.data.paint import boxes, render
from steps.data.questions import Question, ask, prompt
from steps.data.speech import RELATIONS
from steps.stage import StageError

MIRROR = {"left": "right", "right": "left", "above": "above", "below": "below"}
"""Each relation in the mirror."""
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
"""Each relation with the two objects exchanged."""
HALVES = ("select", "report")
BATCH, PATIENCE = 512, 60  # scenes drawn at a time, and how often
TELLINGS = 40  # of a scene, until one says how the two objects lie


class Related(NamedTuple):
    """Scenes with a relation to ask for.

    table, one row a scene: item; half (of HALVES); relation, the true answer; mirrored, the answer
    in the mirror; first and second, the two noun phrases; prompt, and exchanged, which names them
    the other way round (its answer is OPPOSITE of `relation`); story, the scene in words from which
    the answer follows (`language.twin`; empty where none was found); first_box and second_box
    (`paint.boxes`; empty where hidden); and, for each attribute of the world, first_<attribute>.
    images and mirrors: uint8 [N, H, W, 3].
    """

    table: pd.DataFrame
    images: np.ndarray
    mirrors: np.ndarray

    def take(self, keep: np.ndarray) -> "Related":
        """Some of the scenes: bool or indices."""
        rows = np.flatnonzero(keep) if keep.dtype == bool else keep
        table = self.table.iloc[rows].reset_index(drop=True)
        return Related(table, self.images[rows], self.mirrors[rows])


def draw(world: Any, seed: int, count: int) -> Related:
    """`count` scenes (a multiple of eight is used in full), as many of each relation.

    Relations alternate between the halves, so that each half has as many of each. Raises
    StageError where the world's scenes hardly allow such questions.
    """
    rng = np.random.default_rng([seed, 23])
    each = count // len(RELATIONS)
    found: dict[str, list] = {name: [] for name in RELATIONS}
    for _ in range(PATIENCE):
        scenes = scenes_of.sample(world, rng, BATCH, "test")
        for i in range(BATCH):
            view = View(scenes, i)
            question = ask(view, "relation", rng)
            if question is not None and len(found[question.value]) < each:
                found[question.value].append((scenes.take(np.array([i])), view, question))
        if all(len(rows) == each for rows in found.values()):
            break
    else:
        raise StageError(
            f"the world's scenes allow too few questions about relations for {count} of them: "
            "raise world.objects or lower spatial.scenes"
        )
    # By turns, so that any beginning of the table has as many of each.
    drawn = [found[name][i] for i in range(each) for name in RELATIONS]
    scenes = scenes_of.join([scene for scene, *_ in drawn])
    images, owner = render(world, scenes)
    mirrors, _ = render(world, scenes, mirrored=True)
    rows = [
        _row(view, question, owner[i], np.random.default_rng([seed, 29, i]))
        for i, (_, view, question) in enumerate(drawn)
    ]
    table = pd.DataFrame(rows)
    table.insert(0, "item", [f"relation-{seed}-{i:05d}" for i in range(len(table))])
    table.insert(1, "half", [HALVES[i // len(RELATIONS) % 2] for i in range(len(table))])
    return Related(table, images, np.ascontiguousarray(mirrors))


def _row(
    view: View, question: Question, owner: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    first, second = question.subject
    turned = Question(
        "relation", OPPOSITE[question.value], (second, first), "", frozenset(), question.objects
    )
    one, other = question.objects
    place = view.rows.index(one)
    looks = {f"first_{name}": values[place] for name, values in view.look.items()}
    return {
        "relation": question.value,
        "mirrored": MIRROR[question.value],
        "first": first,
        "second": second,
        "prompt": prompt(question, "a", "word"),
        "exchanged": prompt(turned, "a", "word"),
        "story": _told(view, view.rows.index(one), view.rows.index(other), rng),
        "first_box": boxes(owner, [one]),
        "second_box": boxes(owner, [other]),
        **looks,
    }


def _told(view: View, one: int, other: int, rng: np.random.Generator) -> str:
    """The scene as a story that settles how two of its objects lie; empty if none was found."""
    for _ in range(TELLINGS):
        story, known = twin(view, rng)
        if (one, other) in known:
            return story
    return ""
