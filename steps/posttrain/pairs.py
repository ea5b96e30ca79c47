"""Preference pairs: each training question's reference response against the base's own failing.

The base answers every question several times. Questions that it never misses leave all arms: they
could teach SFT and DPO nothing that GRPO, whose reward would be flat on them, can be taught.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.models import load
from steps.models.sample import draw
from steps.posttrain import questions, rejected
from steps.posttrain.rewards import right
from steps.stage import StageError
from steps.track import log

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


class Drawer:
    """Draws answers from a base, in batches of questions whose answers are about as long."""

    def __init__(self, model: Any, processor: Any, told: Any, seed: int) -> None:
        import torch

        self.model, self.processor, self.told = model, processor, told
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, items: pd.DataFrame, images: np.ndarray, begun: list[str]) -> list[list[str]]:
        """Answers [N][draws] to the questions in `items`, each beginning with `begun`'s words.

        images: uint8 [M, H, W, 3], which the column `image` points into.
        """
        found: list[list[str]] = [[] for _ in range(len(items))]
        by_length = np.argsort([len(r.split()) for r in items["response"]], kind="stable")
        for number, start in enumerate(range(0, len(items), self.told.batch)):
            rows = by_length[start : start + self.told.batch]
            some = items.iloc[rows]
            first = [begun[i] for i in rows]
            for i, texts in zip(rows, self._batch(some, images, first), strict=True):
                found[i] = texts
            log.metric("pairs/answered", start + len(rows), number)
        return found

    def _batch(self, some: pd.DataFrame, images: np.ndarray, begun: list[str]) -> list[list[str]]:
        from PIL import Image

        told = self.told
        _, words = draw(
            self.model,
            self.processor,
            list(some["prompt"]),
            begun,
            [Image.fromarray(images[i]) for i in some["image"]],
            told.draws,
            told.max_tokens,
            told.temperature,
            self.generator,
        )
        flat = self.processor.tokenizer.batch_decode(
            words.reshape(-1, words.shape[-1]), skip_special_tokens=True
        )
        n = told.draws
        return [
            [" ".join(f"{first} {text}".split()) for text in flat[i * n : (i + 1) * n]]
            for i, first in enumerate(begun)
        ]


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
