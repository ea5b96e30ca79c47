"""Questions with every arm's answers, as they were kept, and the pictures they were asked about."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.study.collect import Found

LOST = (OSError, ValueError, KeyError)
"""What reading a table that is not there, or is not what it should be, raises."""


def samples(found: Found, params: Any, base: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Some questions of the first seed that has any, one kind after the other.

    In each kind the first questions on which the arms disagree come first: where all arms say the
    same there is nothing to see, so these are not typical. Returns (samples, what was missing).
    """
    for seed in params.seeds:
        folders = {arm: found.folders.get(("vqa", base, arm, seed)) for arm in params.arms}
        folder = found.folders.get(("items", None, None, seed))
        present = {arm: place for arm, place in folders.items() if place is not None}
        if not present or folder is None:
            continue
        try:
            asked, images = questions(folder)
            told = {arm: answers(place) for arm, place in present.items()}
        except LOST as error:
            return [], [f"sample scenes of {base}: {error}"]
        chosen = _choose(asked, told, params.report.samples)
        return [sample(asked.loc[i], i, seed, told, images) for i in chosen], []
    return [], [f"sample scenes of {base}: no seed has both its questions and answers"]


def questions(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The judged questions by item, and the pictures that their column `image` counts."""
    asked = pd.read_parquet(folder / "vqa.parquet").set_index("item")
    return asked, np.load(folder / "vqa_images.npy", mmap_mode="r", allow_pickle=False)


def answers(folder: Path) -> pd.DataFrame:
    """An arm's answers to the judged questions, by item: kind, raw, strict, lenient."""
    wanted = ["item", "kind", "raw", "strict", "lenient"]
    table = pd.read_parquet(folder / "items.parquet", columns=["instrument", *wanted])
    return table.loc[table["instrument"] == "vqa", wanted].set_index("item")


def _choose(asked: pd.DataFrame, told: dict[str, pd.DataFrame], wanted: int) -> list[str]:
    scores = pd.DataFrame({arm: table["lenient"] for arm, table in told.items()})
    shared = scores.dropna()
    shared = shared[shared.index.isin(asked.index)]
    differ = shared.nunique(axis=1) > 1
    order = sorted(range(len(shared)), key=lambda row: not differ.iloc[row])
    queues: dict[str, list[str]] = {}
    for row in order:
        item = shared.index[row]
        queues.setdefault(asked.loc[item, "kind"], []).append(item)
    chosen: list[str] = []
    kinds = sorted(queues)
    while len(chosen) < wanted and any(queues.values()):
        for kind in kinds:
            if queues[kind] and len(chosen) < wanted:
                chosen.append(queues[kind].pop(0))
    return chosen


def sample(
    row: pd.Series, item: str, seed: int, told: dict[str, pd.DataFrame], images: np.ndarray
) -> dict[str, Any]:
    """A question with its picture, and the answers of the arms in `told` that have one."""
    given = {
        arm: {
            "raw": str(table.loc[item, "raw"]),
            "lenient": float(table.loc[item, "lenient"]),
            "strict": float(table.loc[item, "strict"]),
        }
        for arm, table in told.items()
        if item in table.index
    }
    return {
        "item": item,
        "seed": seed,
        "kind": str(row["kind"]),
        "form": str(row["form"]),
        "question": str(row["prompt"]),
        "truth": str(row["value"]),
        "answers": given,
        "picture": picture(images[int(row["image"])]),
    }


def picture(pixels: np.ndarray) -> str:
    """An image uint8 [H, W, 3] as a data URI that a page holds in itself."""
    from PIL import Image

    with io.BytesIO() as file:
        Image.fromarray(np.asarray(pixels)).save(file, "PNG")
        return embedded(file.getvalue())


def embedded(png: bytes) -> str:
    """PNG bytes as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
