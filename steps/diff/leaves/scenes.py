"""A scene as a feature sees it: the picture, the activation on its patches, and its words."""

import json
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from steps.diff.leaves import inline
from steps.diff.leaves.panels import number
from steps.diff.reading import ANSWER, IMAGE, QUESTION, Asked


@dataclass
class Read:
    """The questions as read: items, tokens, images, texts of the tokens, and what was answered.

    said: row to the model's own answer and whether it is right.
    """

    table: pd.DataFrame
    some: Asked
    images: np.ndarray
    text: dict[int, str]
    said: dict[int, tuple[str, bool]]


@dataclass
class Card:
    """What is shown of one feature.

    row: its figures (a row of `shown.choose`, as a named tuple). values: its activations [N, P].
    scenes: rows of the questions shown. top: where its scale ends. The rest: what the panels show.
    """

    row: Any
    values: np.ndarray
    scenes: list[int]
    top: float
    fires: int
    labels: pd.DataFrame
    words: pd.DataFrame
    means: np.ndarray
    up: list[tuple[str, float]]
    down: list[tuple[str, float]]


def scene(card: Card, read: Read, i: int) -> str:
    """Question i as the feature of `card` sees it: one block of the card."""
    item, values, types = read.table.iloc[i], card.values[i], read.some.types[i].numpy()
    patches = values[types == IMAGE]
    asks = np.isin(types, (IMAGE, QUESTION))
    peak = int(np.where(asks, values, -1).argmax())
    box, side = "", int(np.sqrt(len(patches)))
    if types[peak] == IMAGE:
        place = int((types[:peak] == IMAGE).sum())
        down, across = divmod(place, side)
        at = f"patch in row {down + 1}, column {across + 1}"
        box = (
            f'<i class="box" style="left:{100 * across / side:g}%;top:{100 * down / side:g}%;'
            f'width:{100 / side:g}%;height:{100 / side:g}%"></i>'
        )
    else:
        at = f"“{read.text[int(read.some.ids[i, peak])].strip()}”"
    asked_about = _boxes(item.get("boxes"), read.images.shape[1])
    said, right = read.said[i]
    verdict = "right" if right else "wrong"
    return (
        f'<div class="scene"><div class="pic p{i}" role="img" aria-label="the scene">'
        f"{asked_about}</div>"
        f'<div class="pic heat p{i}" role="img" aria-label="activation on its patches">'
        f'<div></div><img alt="" src="{inline.heat(patches, card.top)}">{asked_about}{box}</div>'
        f'<div class="say"><p class="about">{escape(item["item"])} · {escape(item["kind"])} · peak '
        f"{number(values[peak])}, {escape(at)}</p>"
        f"<p>{_words(card, read, i, QUESTION, peak)}</p>"
        f"<p><i>reference:</i> {_words(card, read, i, ANSWER, peak)}</p>"
        f'<p class="about">true: <b>{escape(item["value"])}</b>; the model says '
        f'<span class="{verdict}" title="{verdict}">{escape(said)}</span></p>'
        f"{_contents(item.get('truth'))}</div></div>"
    )


def _boxes(boxes: Any, canvas: int) -> str:
    """Outlines of the objects asked about."""
    return "".join(
        f'<i class="ask" style="left:{100 * left / canvas:.3g}%;top:{100 * top / canvas:.3g}%;'
        f'width:{100 * (right - left) / canvas:.3g}%;height:{100 * (low - top) / canvas:.3g}%"></i>'
        for left, top, right, low in ([] if boxes is None else boxes)
    )


def _contents(truth: str | None) -> str:
    """What the scene holds, in words: noise may hide it from a person."""
    if truth is None:
        return ""
    told = "; ".join(f"{name}, {place}" for name, place in json.loads(truth)["things"])
    return f'<p class="about">in it: {escape(told)}</p>'


def _words(card: Card, read: Read, i: int, kind: int, peak: int) -> str:
    """The words of a question or an answer, coloured by activation."""
    types, ids, parts = read.some.types[i].numpy(), read.some.ids[i].tolist(), []
    steps = inline.level(card.values[i], card.top)
    for at in np.flatnonzero(types == kind):
        text = read.text[ids[at]]
        gap, word = text[: len(text) - len(text.lstrip())], escape(text.lstrip())
        if steps[at]:
            style = f"q{steps[at]}" + (" peak" if at == peak else "")
            word = f'<span class="{style}" title="{card.values[i, at]:.3f}">{word}</span>'
        parts.append(gap + word)
    return "".join(parts).strip()
