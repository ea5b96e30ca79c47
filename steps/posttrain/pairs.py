"""Preference pairs: each training question's reference response against the base's own failing.

The base answers every question several times. Questions that it never misses leave all arms: they
could teach SFT and DPO nothing that GRPO, whose reward would be flat on them, can be taught. Data
of one's own that brings rejected answers, or of which no answer can be judged, is taken as it is:
nothing is sampled, and no item leaves.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.data.judge.judge import PASSED, Judge
from steps.models import load
from steps.models.draws import Drawer
from steps.posttrain import questions, rejected
from steps.stage import StageError

CARRIED = ["item", "image", "kind", "form", "style", "prompt", "value", "choices", "response"]
GREY = 127


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Stage `pairs`: write `pairs.parquet`; returns the base's scores and what became of items."""
    told, seed = params.pairs, params.run.seed
    items = questions.table(inputs["items"], "train")
    own = "reward" in items
    if own and ("rejected" in items or set(items["reward"]) == {"open"}):
        return _given(items, out)
    carried = [*CARRIED, "reward"] if own else CARRIED
    judge = Judge(inputs["items"])
    images = np.load(inputs["items"] / "train_images.npy", mmap_mode="r", allow_pickle=False)
    base = inputs["base"] / "instruct"
    drawer = Drawer(load.vlm(base).to(load.device()), load.processor(base), told, seed)

    answers = drawer.draw(items, images, [""] * len(items))
    asked = [row for row in items.itertuples() for _ in range(told.draws)]
    said = [text for texts in answers for text in texts]
    hits = (judge.scores(asked, said) >= PASSED).reshape(len(items), told.draws)
    missed = np.flatnonzero(~hits.all(1))
    if not len(missed):
        raise StageError(
            f"pairs: the base misses none of {len(items)} training questions in {told.draws} "
            "draws, so no arm has anything to learn: raise pairs.temperature, or make the world "
            "harder"
        )
    pairs = items.iloc[missed][carried].reset_index(drop=True)
    pairs["right"] = hits[missed].sum(1)
    pairs["sampled"] = [
        next((text for text, hit in zip(answers[i], hits[i], strict=True) if hit), "")
        for i in missed
    ]
    kinds = rejected.assign(told.mix.model_dump(), len(pairs), seed)
    blind = _continued(drawer, pairs, images, kinds)
    pairs["chosen"] = pairs["response"]
    pairs["rejected"], pairs["reason"] = zip(
        *(
            _rejected(row, kind, answers[missed[row.Index]], blind.get(row.Index, []), judge)
            for row, kind in zip(pairs.itertuples(), kinds, strict=True)
        ),
        strict=True,
    )
    pairs.to_parquet(out / "pairs.parquet")
    if own:
        hits = hits[(items["reward"] != "open").to_numpy()]
    return _metrics(pairs, kinds, hits, len(items), judge)


def _given(items: pd.DataFrame, out: Path) -> dict[str, float]:
    """Write the pairs that the data brings, or items without any rejected answer."""
    paired = "rejected" in items
    pairs = items[[*CARRIED, "reward"]].copy()
    pairs["sampled"] = ""  # nothing was
    pairs["chosen"] = items["chosen"] if paired else items["response"]
    pairs["rejected"] = items["rejected"] if paired else ""
    pairs["reason"] = "given" if paired else "none"
    pairs.to_parquet(out / "pairs.parquet")
    kept = {"pairs/items": len(items), "pairs/kept": len(items), "pairs/dropped": 0}
    return {**kept, "pairs/given": float(paired)}


def _continued(
    drawer: Drawer, pairs: pd.DataFrame, images: np.ndarray, kinds: list[str]
) -> dict[int, list[str]]:
    """Blind continuations of the pairs that are to have one: row to draws."""
    rows = [i for i, kind in enumerate(kinds) if kind == "continuation"]
    some = pairs.iloc[rows].assign(image=0)
    grey = np.full((1, *images.shape[1:]), GREY, images.dtype)
    begun = [rejected.beginning(text) for text in some["response"]]
    return dict(zip(rows, drawer.draw(some, grey, begun), strict=True))


def _rejected(
    row: Any, kind: str, draws: list[str], blind: list[str], judge: Judge
) -> tuple[str, str]:
    """A pair's rejected answer and its kind: the assigned one, or `wrong` where it has none.

    A kept item always has a missed draw; an empty one is no text to train on.
    """
    told = (row.response, row.value, row.choices, _rightly(row, judge))
    other = rejected.reformed(row.style, row.form, row.value, row.response)
    if kind == "format":
        return other, kind
    text = rejected.gone_on(blind, *told) if kind == "continuation" else None
    if text is not None:
        return text, kind
    text = rejected.misread(draws, *told)
    if text is not None:
        return text, "wrong"
    return other, "format"


def _rightly(row: Any, judge: Judge) -> rejected.Right:
    """What `rejected` asks of a text, of one row, by the row's own reward."""
    return lambda text, value, choices: judge.right(row._replace(value=value), text)


def _metrics(
    pairs: pd.DataFrame, kinds: list[str], hits: np.ndarray, items: int, judge: Judge
) -> dict[str, float]:
    """Counts and shares; `hits` [N, draws]: whether a draw was right, where one can be."""
    reasons = pairs["reason"].to_numpy()
    blind = pairs[reasons == "continuation"]
    wrong = [not judge.right(row, row.rejected) for row in blind.itertuples()]
    return {
        "pairs/items": items,
        "pairs/kept": len(pairs),
        "pairs/dropped": items - len(pairs),
        **{
            f"pairs/{kind}": float((reasons == kind).mean())
            for kind in ("wrong", "continuation", "format")
        },
        "pairs/fallbacks": int((reasons != np.array(kinds)).sum()),
        "pairs/continuation_misleads": float(np.mean(wrong)) if wrong else 0.0,
        "pairs/pass_at_1": float(hits.mean()),
        f"pairs/pass_at_{hits.shape[1]}": float(hits.any(1).mean()),
    }
