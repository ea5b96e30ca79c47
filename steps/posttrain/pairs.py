"""Preference pairs: each training question's reference response against the base's own failing.

The base answers every question several times. Questions that it never misses leave all arms: they
could teach SFT and DPO nothing that GRPO, whose reward would be flat on them, can be taught.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.models import load
from steps.models.draws import Drawer
from steps.posttrain import questions, rejected
from steps.posttrain.rewards import right
from steps.stage import StageError

CARRIED = ["item", "image", "kind", "form", "style", "prompt", "value", "choices", "response"]
GREY = 127


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Stage `pairs`: write `pairs.parquet`; returns the base's scores and what became of items."""
    told, seed = params.pairs, params.run.seed
    items = questions.table(inputs["items"], "train")
    images = np.load(inputs["items"] / "train_images.npy", allow_pickle=False)
    base = inputs["base"] / "instruct"
    drawer = Drawer(load.vlm(base).to(load.device()), load.processor(base), told, seed)

    answers = drawer.draw(items, images, [""] * len(items))
    hits = np.array(
        [
            [right(text, row.value, row.choices) for text in texts]
            for row, texts in zip(items.itertuples(), answers, strict=True)
        ]
    )
    missed = np.flatnonzero(~hits.all(1))
    if not len(missed):
        raise StageError(
            f"pairs: the base misses none of {len(items)} training questions in {told.draws} "
            "draws, so no arm has anything to learn: raise pairs.temperature, or make the world "
            "harder"
        )
    pairs = items.iloc[missed][CARRIED].reset_index(drop=True)
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
            _rejected(row, kind, answers[missed[row.Index]], blind.get(row.Index, []))
            for row, kind in zip(pairs.itertuples(), kinds, strict=True)
        ),
        strict=True,
    )
    pairs.to_parquet(out / "pairs.parquet")
    return _metrics(pairs, kinds, hits)


def _continued(
    drawer: Drawer, pairs: pd.DataFrame, images: np.ndarray, kinds: list[str]
) -> dict[int, list[str]]:
    """Blind continuations of the pairs that are to have one: row to draws."""
    rows = [i for i, kind in enumerate(kinds) if kind == "continuation"]
    some = pairs.iloc[rows].assign(image=0)
    grey = np.full_like(images[:1], GREY)
    begun = [rejected.beginning(text) for text in some["response"]]
    return dict(zip(rows, drawer.draw(some, grey, begun), strict=True))


def _rejected(row: Any, kind: str, draws: list[str], blind: list[str]) -> tuple[str, str]:
    """A pair's rejected answer and its kind: the assigned one, or `wrong` where it has none.

    A kept item always has a missed draw; an empty one is no text to train on.
    """
    told = (row.response, row.value, row.choices)
    if kind == "format":
        return rejected.reformed(row.style, row.form, row.value), kind
    text = rejected.gone_on(blind, *told) if kind == "continuation" else None
    if text is not None:
        return text, kind
    text = rejected.misread(draws, *told)
    if text is not None:
        return text, "wrong"
    return rejected.reformed(row.style, row.form, row.value), "format"


def _metrics(pairs: pd.DataFrame, kinds: list[str], hits: np.ndarray) -> dict[str, float]:
    """Counts and shares; `hits` [items, draws]: whether a draw was right."""
    reasons = pairs["reason"].to_numpy()
    blind = pairs[reasons == "continuation"]
    wrong = [not right(r.rejected, r.value, r.choices) for r in blind.itertuples()]
    return {
        "pairs/items": len(hits),
        "pairs/kept": len(pairs),
        "pairs/dropped": len(hits) - len(pairs),
        **{
            f"pairs/{kind}": float((reasons == kind).mean())
            for kind in ("wrong", "continuation", "format")
        },
        "pairs/fallbacks": int((reasons != np.array(kinds)).sum()),
        "pairs/continuation_misleads": float(np.mean(wrong)) if wrong else 0.0,
        "pairs/pass_at_1": float(hits.mean()),
        f"pairs/pass_at_{hits.shape[1]}": float(hits.any(1).mean()),
    }
