"""Items as the language model reads them: which are taken, their token ids, the types of these."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.diff.activations import TYPES

BATCH = 64  # samples tokenised at once
HELD_OUT = 5  # every fifth scene is kept for evaluation, with all its questions


@dataclass
class Sample:
    """One item as the models read it: token ids and the type of each (-1: left out)."""

    item: str
    images: np.ndarray  # the file's images, memory-mapped
    row: int
    split: str
    ids: list[int]
    types: list[int]


def draw(items: Path, seed: int) -> list[tuple[Any, np.ndarray, str]]:
    """All training items in a random order: (table row, the file's images, split fit | eval).

    A scene is in one split with all its questions.
    """
    found = []
    for name in ("train", "stage1"):
        table = pd.read_parquet(items / f"{name}.parquet")
        images = np.load(items / f"{name}_images.npy", mmap_mode="r", allow_pickle=False)
        found += [(row, images, (name, row.scene)) for row in table.itertuples()]
    rng = np.random.default_rng([seed, 11])
    scenes = sorted({scene for *_, scene in found})
    held = {scenes[i] for i in rng.permutation(len(scenes))[::HELD_OUT]}
    shuffled = (found[i] for i in rng.permutation(len(found)))
    return [(row, images, "eval" if s in held else "fit") for row, images, s in shuffled]


def take(processor: Any, rows: list, budget: int) -> list[Sample]:
    """As many of the rows, with their images, as the budget of tokens holds; at least one."""
    taken: list[Sample] = []
    used = 0
    for at in range(0, len(rows), BATCH):
        for sample in encode(processor, rows[at : at + BATCH], image=True):
            used += len(sample.ids)
            if taken and used > budget:
                return taken
            taken.append(sample)
    return taken


def encode(processor: Any, rows: list, image: bool) -> list[Sample]:
    """Rows of `draw` as the models read them: chat template, question and reference response."""
    questions, wholes = [], []
    for row, _, _ in rows:
        content = [{"type": "image"}] * image + [{"type": "text", "text": row.prompt}]
        asked = [{"role": "user", "content": content}]
        said = [{"role": "assistant", "content": [{"type": "text", "text": row.response}]}]
        questions.append(processor.apply_chat_template(asked, add_generation_prompt=True))
        wholes.append(processor.apply_chat_template(asked + said))
    plain = processor.tokenizer(questions + wholes)["input_ids"]  # one placeholder an image
    pictures = {"images": [images[row.image] for row, images, _ in rows]} if image else {}
    full = processor(text=wholes, **pictures)["input_ids"]
    found = []
    for number, (row, images, split) in enumerate(rows):
        start = _shared(plain[number], plain[number + len(rows)], processor.image_token_id)
        types = []
        for token in full[number]:  # question and answer are told apart by counting words
            types.append(0 if token == processor.image_token_id else 1 + (start <= 0))
            start -= types[-1] > 0
        found.append(Sample(row.item, images, row.image, split, list(full[number]), types))
    return found


def _shared(question: list[int], whole: list[int], image: int) -> int:
    """How many tokens, images not counted, two sequences have in common from their start on."""
    count = 0
    for one, other in zip(question, whole, strict=False):
        if one != other:
            break
        count += one != image
    return count


def leave_out_shared(samples: list[Sample]) -> None:
    """Mark as left out the leading tokens, before any image, that all samples share."""
    if len(samples) < 2:
        return
    for place in range(min(len(s.ids) for s in samples)):
        if any(s.types[place] == 0 or s.ids[place] != samples[0].ids[place] for s in samples):
            return
        for sample in samples:
            sample.types[place] = -1


def table(samples: list[Sample]) -> pd.DataFrame:
    """One row for each token that is kept."""
    rows = [
        (number, s.item, s.split, place, token, kind)
        for number, s in enumerate(samples)
        for place, (token, kind) in enumerate(zip(s.ids, s.types, strict=True))
        if kind >= 0
    ]
    table = pd.DataFrame(rows, columns=["sample", "item", "split", "position", "token", "type"])
    for column, names in (("split", ["fit", "eval"]), ("item", None)):
        table[column] = pd.Categorical(table[column], names)
    table["type"] = pd.Categorical.from_codes(table["type"].to_numpy(), list(TYPES))
    return table.astype({"sample": "int32", "position": "int32", "token": "int32"})
