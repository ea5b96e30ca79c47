"""The questions that arms train on: which ones, in which order, and with their images.

All arms of a seed walk through one sequence of items (SFT and DPO in equal strides, so that their
k-th batches hold the same questions). The sequence is fixed here, outside TRL, whose trainers are
told to read it as it stands: each of them would shuffle in its own way.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.stage import StageError
from steps.track import log


def kept(pairs: Path) -> pd.DataFrame:
    """The pairs of one base and seed: every training item that the base sometimes misses."""
    return pd.read_parquet(pairs / "pairs.parquet")


def table(items: Path, name: str, count: int | None = None) -> pd.DataFrame:
    """The first `count` questions (all where None) of `items/<name>.parquet`.

    Raises StageError where there are fewer.
    """
    questions = pd.read_parquet(items / f"{name}.parquet")
    if count is not None and len(questions) < count:
        raise StageError(
            f"items.{name} = {len(questions)}: this arm needs {count}, as many as the arms that "
            f"train on pairs; set items.{name} to at least items.train"
        )
    return questions if count is None else questions.iloc[:count]


def steps(count: int, epochs: float, batch: int) -> int:
    """Optimiser steps in `epochs` passes over `count` items, in whole batches; at least 1."""
    return max(1, round(epochs * count / batch))


def order(count: int, length: int, seed: int) -> np.ndarray:
    """Positions [length] of the items to train on: one permutation of `count` after another.

    It depends on nothing but its arguments, and a shorter one is the beginning of a longer one,
    so arms of unequal length share their beginning.
    """
    passes = -(-length // count)
    drawn = [np.random.default_rng([seed, number]).permutation(count) for number in range(passes)]
    return np.concatenate(drawn)[:length]


class Pictures:
    """Turns rows of a table into what a TRL trainer reads, with images straight from the array.

    No image is encoded or copied before it is needed. It is pickled (`datasets` does so to name
    what it holds) without the images.
    """

    def __init__(self, path: Path, columns: dict[str, Sequence[Any]]):
        self.path, self.columns = path, columns
        self._images: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "columns": self.columns, "_images": None}

    def __call__(self, batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        """The columns, and `image` as PIL images, of the rows `batch["row"]`."""
        from PIL import Image

        images = self._images
        if images is None:
            images = self._images = np.load(self.path, mmap_mode="r", allow_pickle=False)
        rows = batch["row"]
        found = {k: [v[r] for r in rows] for k, v in self.columns.items() if k != "at"}
        found["image"] = [Image.fromarray(np.array(images[self.columns["at"][r]])) for r in rows]
        return found


def dataset(
    questions: pd.DataFrame,
    images: Path,
    sequence: np.ndarray,
    use: str = "train",
    **columns: Sequence[Any],
) -> Any:
    """A `datasets.Dataset` of `questions[sequence]`: `prompt`, `image` and the columns given.

    questions: has `prompt` and `image`, the row of an image in the array at `images`.
    use: what it is read for. columns: name to one value an item of `questions`.
    """
    from datasets import Dataset

    found: dict[str, Any] = {"prompt": [asked(p) for p in questions["prompt"]], **columns}
    found["at"] = questions["image"].tolist()
    # The same for two arms that see the same items in the same order.
    digest = sha256(" ".join(questions["item"].iloc[sequence]).encode()).hexdigest()
    log.dataset(images.name.removesuffix("_images.npy"), digest[:16], use)
    rows = Dataset.from_dict({"row": [int(i) for i in sequence]})
    return rows.with_transform(Pictures(images, found))


def asked(prompt: str) -> list[dict[str, str]]:
    """A user's turn; TRL puts the image in front of its text."""
    return [{"role": "user", "content": prompt}]


def said(text: str) -> list[dict[str, str]]:
    """The assistant's turn; the chat template ends it with the end-of-text token."""
    return [{"role": "assistant", "content": text}]
