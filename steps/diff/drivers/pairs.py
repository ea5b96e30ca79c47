"""Scenes and their counterfactual twins, as pairs of questions whose tokens stand one for one.

What a head brings about is asked by giving it what it would have said in another scene. The twin
of a scene with `left` or `right` is its mirror image under the same prompt: nothing but the
relation differs, and no token moves. A mean image in its place (as in the VLM paper) takes away the
objects too, and so finds every head that carries any of them. For `above` and `below` there is no
such mirror, since shapes and letters would stand on their heads: the twin is the same image with
the two names exchanged in the prompt, where both names are as many tokens. It turns the relation
round by the question, so heads found by it read the question as well as the image.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from steps.data.speech import RELATIONS
from steps.diff import reading
from steps.diff.relations import MIRROR, OPPOSITE, Related

LEVEL = tuple(name for name in RELATIONS if MIRROR[name] != name)
"""The relations that the mirror turns round."""


class Pairs(NamedTuple):
    """Scenes [S] (the rows of `Related.table`) as they are, and as their twins: token by token."""

    table: pd.DataFrame
    clean: reading.Asked
    twin: reading.Asked

    def half(self, name: str) -> "Pairs":
        """The scenes of one of HALVES."""
        return self.rows(np.flatnonzero(self.table["half"] == name))

    def rows(self, some: Any) -> "Pairs":
        """Some of the scenes: a slice or indices."""
        table = self.table.iloc[some].reset_index(drop=True)
        return Pairs(table, self.clean.rows(some), self.twin.rows(some))

    def true(self) -> np.ndarray:
        """The index in RELATIONS of each scene's answer [S]; of the twin's: `swapped`."""
        return np.array(self.table["relation"].map(RELATIONS.index))

    def swapped(self) -> np.ndarray:
        """The index in RELATIONS of the answer to each twin [S]."""
        return np.array(self.table["relation"].map(OPPOSITE).map(RELATIONS.index))


def pairs(processor: Any, image_tokens: int, related: Related, upright: bool) -> Pairs:
    """Scenes with `left` and `right`, and, if `upright`, those with `above` and `below` whose
    names are as many tokens.
    """
    table = related.table
    level = table["relation"].isin(LEVEL).to_numpy()
    keep = np.flatnonzero(level | (upright & _alike(processor, table)))
    some, level = related.take(keep), level[keep]
    n = len(keep)
    prompts = list(some.table["prompt"])
    turned = np.where(level, some.table["prompt"], some.table["exchanged"])
    images = np.where(level[:, None, None, None], some.mirrors, some.images)
    # In one call: what is padded alike is aligned.
    both = reading.asked(
        processor,
        image_tokens,
        prompts + list(turned),
        images=np.concatenate([some.images, images]),
    )
    return Pairs(some.table, both.rows(slice(0, n)), both.rows(slice(n, None)))


def _alike(processor: Any, table: pd.DataFrame) -> np.ndarray:
    """Whether the two names of each scene are as many tokens [S]."""
    counts = [
        [
            len(processor.tokenizer(f" {name}", add_special_tokens=False)["input_ids"])
            for name in names
        ]
        for names in table[["first", "second"]].to_numpy()
    ]
    return np.ptp(np.array(counts), axis=1) == 0
