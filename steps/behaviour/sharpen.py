"""Sharpening: what a model answers when it draws, and what its own majority would answer.

Reinforcement learning can raise greedy accuracy by making the model surer of what it could already
say (Yue et al. 2025, 2504.13837). So for every arm and for the base: the share of draws at
temperature 1 that are right, the share of questions with a right one among k (pass@k), and the
share whose commonest answer is right (majority of k, Wang et al. 2022, 2203.11171). A gain that the
base's own majority reaches is no new sight.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.behaviour.vqa import evenly, known
from steps.data.judge.judge import PASSED, Judge
from steps.models import load
from steps.models.draws import Drawer
from steps.stage import StageError
from steps.whose import signed


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Draw answers to the first params.sharpen.items judged questions; keep all of them.

    items.parquet has one row a question: raw (its draws, a line each), lenient (share of draws
    that are right), strict (none is asked for), any (pass@k) and majority. Returns `sharpen/...`
    as shares.
    """
    told, who = params.sharpen, params.run
    table = pd.read_parquet(inputs["items"] / "vqa.parquet")
    table = table.iloc[evenly(told.items, len(table))]
    images = np.load(inputs["items"] / "vqa_images.npy", mmap_mode="r", allow_pickle=False)
    model = load.vlm(inputs["model"]).to(load.device())
    drawer = Drawer(model, load.processor(inputs["model"]), told, who.seed or 0)
    answers = drawer.draw(table, images, [""] * len(table))
    return _written(score(table, answers, Judge(inputs["items"])), who, out)


def rescored(params: Any, inputs: dict[str, Path], kept: Path, out: Path) -> dict[str, float]:
    """What `run` writes and returns, from the draws in the folder `kept`.

    inputs: items alone. Raises StageError for draws of other questions, or another number of them.
    """
    whole = pd.read_parquet(kept / "items.parquet", columns=["item", "raw"])
    answers = [text.split("\n") for text in whole["raw"]]
    if any(len(draws) != params.sharpen.draws for draws in answers):
        raise StageError(
            f"{kept / 'items.parquet'} has not {params.sharpen.draws} draws a question"
        )
    table = known(inputs["items"], "vqa", whole["item"])
    return _written(score(table, answers, Judge(inputs["items"])), params.run, out)


def _written(scored: pd.DataFrame, who: Any, out: Path) -> dict[str, float]:
    signed(scored, who).to_parquet(out / "items.parquet", index=False)
    return {
        "sharpen/draw": float(scored["lenient"].mean()),
        "sharpen/any": float(scored["any"].mean()),
        "sharpen/majority": float(scored["majority"].mean()),
    }


def score(
    table: pd.DataFrame, answers: list[list[str]], judge: Judge | None = None
) -> pd.DataFrame:
    """One row a question, from its draws: lenient, any and majority, and what it was about.

    table: questions with item, kind, form, value and choices; judge: of their folder. An unreadable
    draw is wrong and has no vote; of answers with equal votes the one drawn first counts.
    """
    rows, judge = [], judge or Judge()
    for row, texts in zip(table.itertuples(), answers, strict=True):
        read = [judge.read(row, text) for text in texts]
        votes = Counter(word for word in read if word is not None).most_common(1)
        given = np.nan_to_num(judge.scores([row] * len(texts), texts), posinf=0.0, neginf=0.0)
        hits = (given >= PASSED).tolist()
        first = read.index(votes[0][0]) if votes else -1
        rows.append(
            {
                "instrument": "sharpen",
                "item": row.item,
                "raw": "\n".join(texts),
                "strict": np.nan,
                "lenient": float(given.mean()),
                "any": int(any(hits)),
                "majority": int(bool(votes) and hits[first]),
                "kind": row.kind,
                "form": row.form,
            }
        )
    return pd.DataFrame(rows)
