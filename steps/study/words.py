"""Answers word by word, shaded by what is said to tie each word to the image, beside the truth."""

from typing import Any

import numpy as np
import pandas as pd

from steps.study import markup, samples
from steps.study.collect import Found

SHADES = 9
"""Steps of shading, from the least of an answer's words to the most."""
MEASURES = {
    "density": "attention to the image, for its share of what is visible (AT-RL)",
    "drift": "how far the word's chances move when the image is spoilt (VPPO)",
    "entropy": "how open the word was",
}
WANTED = 6
CAPTION = (
    "Frozen reference answers as the untouched base reads them. The darker a word, the more of the "
    "measure it has among the words of its answer; underlined are the words that in truth depend "
    "on the image. A measure that finds them shades what is underlined, and nothing else. The "
    "first question of each kind, whatever it shows."
)


def told(found: Found, params: Any, base: str) -> list[dict[str, Any]]:
    """The first question of each kind, of the first seed that has words of the untouched base.

    Each with its picture and its words: word, depends, and for each measure the share of the
    answer's other words that have less, 0 to 1.
    """
    for seed in params.seeds:
        place = found.folders.get(("tokens", base, "none", seed))
        questions = found.folders.get(("items", None, None, seed))
        if not place or not questions:
            continue
        try:
            words = pd.read_parquet(place / "tokens.parquet")
            asked, images = samples.questions(questions)
            first = words.drop_duplicates("kind")["item"].tolist()[:WANTED]
            return [_one(asked.loc[item], words[words["item"] == item], images) for item in first]
        except samples.LOST:  # another seed may have them
            continue
    return []


def _one(row: pd.Series, words: pd.DataFrame, images: np.ndarray) -> dict[str, Any]:
    ranks = {name: _ranks(words[name]) for name in MEASURES}
    return {
        "kind": str(row["kind"]),
        "question": str(row["prompt"]),
        "picture": samples.picture(images[int(row["image"])]),
        "words": [
            {"word": str(word), "depends": bool(depends)}
            | {name: ranks[name][place] for name in MEASURES}
            for place, (word, depends) in enumerate(
                zip(words["word"], words["depends"], strict=True)
            )
        ],
    }


def _ranks(values: pd.Series) -> list[float]:
    """For each value the share of the others that are below it."""
    others = max(1, len(values) - 1)
    return ((values.rank(method="min") - 1) / others).round(3).tolist()


def section(answers: list[dict[str, Any]]) -> str:
    """The answers as HTML; nothing without any."""
    if not answers:
        return ""
    return (
        "<h3>Which words are tied to the image</h3>"
        f'<p class="caption">{markup.text(CAPTION)}</p>'
        f'<div class="scenes">{"".join(map(_card, answers))}</div>'
    )


def _card(answer: dict[str, Any]) -> str:
    lines = "".join(
        f"<dt>{markup.text(what)}</dt><dd>{' '.join(_shaded(w, name) for w in answer['words'])}"
        "</dd>"
        for name, what in MEASURES.items()
    )
    return (
        f'<article class="scene words"><img src="{answer["picture"]}" loading="lazy" '
        f'alt="scene of a question about {markup.text(answer["kind"])}">'
        f'<div><p class="about">{markup.text(answer["kind"])}</p>'
        f"<p>{markup.text(answer['question'])}</p></div><dl>{lines}</dl></article>"
    )


def _shaded(word: dict[str, Any], name: str) -> str:
    shade = round(SHADES * word[name])
    said = markup.text(word["word"])
    return f'<span class="s{shade}">{f"<u>{said}</u>" if word["depends"] else said}</span>'
