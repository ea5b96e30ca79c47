"""Answers drawn to a table of questions, batch by batch."""

from typing import Any

import numpy as np
import pandas as pd

from steps.models.sample import draw
from steps.track import log


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
            log.metric("answered", start + len(rows), number)
        return found

    def _batch(self, some: pd.DataFrame, images: np.ndarray, begun: list[str]) -> list[list[str]]:
        from PIL import Image

        told = self.told
        _, (words, _) = draw(
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
