"""Items as the language model reads them: which are taken, their token ids, the types of these."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps import manifest
from steps.data.language import told
from steps.diff import activations
from steps.diff.activations import TYPES
from steps.stage import StageError

BATCH = 64  # samples tokenised at once
HELD_OUT = 5  # every fifth scene is kept for evaluation, with all its questions


@dataclass
class Sample:
    """One item as the models read it: token ids [n] and the type of each (-1: left out)."""

    item: str
    images: np.ndarray  # the file's images, memory-mapped
    row: int
    split: str
    ids: np.ndarray
    types: np.ndarray


def draw(items: Path, seed: int) -> list[tuple[Any, np.ndarray, str]]:
    """All items of train.parquet in a random order: (table row, the file's images, fit | eval).

    Both kinds of input are made of the very same items, so only those serve whose scene can be
    told in words; stage1.parquet's carry no `truth`. A scene is in one split with all its
    questions. Raises StageError for items that were made without `truth`.
    """
    table = pd.read_parquet(items / "train.parquet")
    if "truth" not in table:
        raise StageError(
            f"{items / 'train.parquet'} has no column `truth`, so that no scene can be told in "
            "words: make the items anew"
        )
    images = np.load(items / "train_images.npy", mmap_mode="r", allow_pickle=False)
    rng = np.random.default_rng([seed, 11])
    scenes = np.unique(table["scene"])
    held = set(scenes[rng.permutation(len(scenes))[::HELD_OUT]])
    rows = list(table.itertuples())
    shuffled = (rows[i] for i in rng.permutation(len(rows)))
    return [(row, images, "eval" if row.scene in held else "fit") for row in shuffled]


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
    """Rows of `draw` as the models read them: chat template, question and reference response.

    In front of the question stands the image, or the scene told in words (its textual twin).
    """
    twins = ["" if image else told(json.loads(row.truth)["things"]) for row, _, _ in rows]
    questions, wholes = [], []
    for (row, _, _), twin in zip(rows, twins, strict=True):
        said = {"type": "text", "text": f"{twin} {row.prompt}" if twin else row.prompt}
        asked = [{"role": "user", "content": [{"type": "image"}] * image + [said]}]
        answer = [{"role": "assistant", "content": [{"type": "text", "text": row.response}]}]
        questions.append(processor.apply_chat_template(asked, add_generation_prompt=True))
        wholes.append(processor.apply_chat_template(asked + answer))
    found = processor.tokenizer(questions + wholes, return_offsets_mapping=True)
    plain = found["input_ids"]  # one placeholder an image
    pictures = {"images": [images[row.image] for row, images, _ in rows]} if image else {}
    full = processor(text=wholes, **pictures)["input_ids"]
    samples = []
    for number, (row, images, split) in enumerate(rows):
        ids = np.array(full[number], np.int32)
        asks = _shared(plain[number], plain[number + len(rows)], processor.image_token_id)
        words = ids != processor.image_token_id
        # question and answer are told apart by counting words
        types = (words * (1 + (words.cumsum() > asks))).astype(np.int8)
        if twin := twins[number]:
            first = wholes[number].index(twin)
            start, end = np.array(found["offset_mapping"][number + len(rows)]).T
            types[(end > start) & (end > first) & (start < first + len(twin))] = TYPES.index("told")
        samples.append(Sample(row.item, images, row.image, split, ids, types))
    return samples


def _shared(question: list[int], whole: list[int], image: int) -> int:
    """How many tokens, images not counted, two sequences have in common from their start on."""
    count = 0
    for one, other in zip(question, whole, strict=False):
        if one != other:
            break
        count += one != image
    return count


def leave_out_shared(samples: list[Sample]) -> list[int]:
    """Mark as left out the leading tokens, before any image, that all samples share: these ids.

    A sample keeps at least its last token.
    """
    shared = 0
    if len(samples) > 1:
        for place in range(min(len(s.ids) for s in samples) - 1):
            same = len({int(s.ids[place]) for s in samples}) == 1
            if not same or samples[0].types[place] == 0:
                break
            shared += 1
    for sample in samples:
        sample.types[:shared] = -1
    return samples[0].ids[:shared].tolist()


def table(samples: list[Sample]) -> pd.DataFrame:
    """One row for each token that is kept."""
    lengths = [len(s.ids) for s in samples]
    kept = (types := np.concatenate([s.types for s in samples])) >= 0
    number = np.repeat(np.arange(len(samples), dtype=np.int32), lengths)[kept]
    position = np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])[kept]

    def spread(values: list[str], names: Iterable[str]) -> pd.Categorical:
        return pd.Categorical.from_codes(pd.Categorical(values, list(names)).codes[number], names)

    return pd.DataFrame(
        {
            "sample": number,
            "item": spread([s.item for s in samples], sorted({s.item for s in samples})),
            "split": spread([s.split for s in samples], ["fit", "eval"]),
            "position": position,
            "token": np.concatenate([s.ids for s in samples])[kept],
            "type": pd.Categorical.from_codes(types[kept], list(TYPES)),
        }
    )


def again(harvest: Path, items: Path, cell: str) -> list[Sample]:
    """The samples of a harvest's cell as they were read, from its index and its items.

    Raises StageError for other items than those that were harvested.
    """
    facts, index = activations.facts(harvest), activations.index(harvest, cell)
    if manifest.digest(items / "train.parquet") != facts["items"]:
        raise StageError(
            f"{harvest} was not harvested from {items}: give the items that it was made of, or run "
            "the harvest again"
        )
    places = pd.read_parquet(items / "train.parquet", columns=["item", "image"])
    places = places.set_index("item")["image"]
    images = np.load(items / "train_images.npy", mmap_mode="r", allow_pickle=False)
    shared = np.array(facts["shared"][facts["cells"][cell]["input"]], np.int32)
    left_out = np.full(len(shared), -1, np.int8)
    starts = np.flatnonzero(np.diff(index["sample"], prepend=-1))
    token, kind = index["token"].to_numpy(), index["type"].cat.codes.to_numpy()
    samples = []
    for start, end in zip(starts, [*starts[1:], len(index)], strict=True):
        item, split = index["item"].iat[start], index["split"].iat[start]
        ids = np.concatenate([shared, token[start:end]])
        types = np.concatenate([left_out, kind[start:end]])
        samples.append(Sample(item, images, int(places[item]), split, ids, types))
    return samples
