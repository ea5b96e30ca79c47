"""Pairs whose question is about one object, and where in its image that object is.

Pairs are about training questions, as in the paper: a loss on pairs is defined on no others. What
is seen of the object is known pixel by pixel from the world's own maps.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.data.speech import ANY, DRAWN, photographs
from steps.posttrain import questions
from steps.stage import StageError

ONE = ("color", "shape", "category", "name", "size", "existence", "glyph")
"""Kinds of questions about one object, where they are about any."""
MAPPED = (*enumerate(DRAWN.maps, 1), *enumerate(photographs().maps, 1))
"""What a number in maps stands for; a scene has words of one world alone."""


def asked(pairs: Path, items: Path, count: int) -> pd.DataFrame:
    """The first `count` pairs about one object that can be seen, short answers first.

    Columns of pairs.parquet, and of the training items boxes, truth and description: what
    `describe the picture` is answered by, up to the ground.
    """
    whole = questions.table(items, "train")[["item", "boxes", "truth"]]
    table = questions.kept(pairs).merge(whole, on="item", how="left", validate="one_to_one")
    if not set(table["item"]) <= set(whole["item"]):
        raise StageError(f"{pairs} has pairs that {items} has no item of: run `pairs` again")
    table = table[about_one(table)].iloc[:count]
    # Short answers first: a batch is padded to its longest.
    order = np.argsort(table["chosen"].str.split().str.len(), kind="stable")
    table = table.iloc[order].reset_index(drop=True)
    if len(table) < 2:
        raise StageError(
            f"{pairs} has {len(table)} pairs about one object, and maps need two: raise items.train"
        )
    return table.assign(description=[described(truth) for truth in table["truth"]])


def described(truth: str) -> str:
    """The caption of an item's scene in style a, up to the ground, which `truth` does not tell."""
    things = json.loads(truth)["things"]
    return " , ".join(
        f"{'the' if name.startswith('letter ') else 'a'} {name} at the {place}"
        for name, place in things
    )


def rivals(table: pd.DataFrame, seed: int) -> np.ndarray:
    """For each question another one whose answers it gets as random labels, int [N].

    One of the same kind if there is any, with another answer, then in the same form and style;
    among equals by chance.
    """
    rng, columns = np.random.default_rng([seed, len(table)]), ("kind", "value", "form", "style")
    kind, value, form, style = (table[name].to_numpy() for name in columns)
    found = np.empty(len(table), int)
    for i in range(len(table)):
        fit = 8.0 * (kind == kind[i]) + 4 * (value != value[i])
        fit += 2 * (form == form[i]) + (style == style[i]) + 0.5 * rng.random(len(table))
        fit[i] = -1
        found[i] = fit.argmax()
    return found


def about_one(table: pd.DataFrame) -> np.ndarray:
    """Which questions are about one object that can be seen: bool [N].

    table: columns kind and boxes of an items table.
    """
    return table["kind"].isin(ONE).to_numpy() & (table["boxes"].map(len) == 1).to_numpy()


def masks(table: pd.DataFrame, maps: np.ndarray) -> np.ndarray:
    """The pixels of each question's object, bool [N, H, W].

    table: questions that are `about_one`, with kind, value, truth and boxes. maps uint8
    [N, H, W]: what fills each pixel of their images (`train_maps.npy`). An object is the pixels of
    its shape, or its category, in the box that frames it; the plate of a letter is its box.
    """
    found = np.zeros(maps.shape, bool)
    for mask, filled, row in zip(found, maps, table.itertuples(), strict=True):
        left, top, right, bottom = (int(edge) for edge in row.boxes[0])
        part = slice(top, bottom), slice(left, right)
        if row.kind == "glyph":
            mask[part] = True
            continue
        mask[part] = filled[part] == _number(row)
    return found


def _number(row: Any) -> int:
    """What maps call the one object that a question is about."""
    truth = json.loads(row.truth)
    known = set(truth["about"][0].split()) - {ANY}
    known |= {row.value} if row.kind != "existence" else set()
    things = (set(name.split()) for name, _ in truth["things"])
    words = next(words for words in things if known <= words)
    return next(number for number, word in MAPPED if word in words)
