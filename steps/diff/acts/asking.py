"""The questions that interventions are judged on: relations, and questions of all other kinds."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.data.questions import LEAD
from steps.data.speech import RELATIONS
from steps.diff import reading
from steps.diff.acts.behind import Questions
from steps.diff.relations import Related


def of_relations(processor: Any, image_tokens: int, related: Related) -> Questions:
    """How one object lies to another, choices in the order of RELATIONS, kind the true relation."""
    table = related.table
    asked = reading.asked(processor, image_tokens, table["prompt"].tolist(), images=related.images)
    true = np.array([RELATIONS.index(name) for name in table["relation"]])
    choices = reading.words(processor, RELATIONS).expand(len(table), -1)
    return Questions(asked, choices, true, table["relation"].to_numpy(dtype=str))


def of_other_kinds(processor: Any, image_tokens: int, items: Path, count: int) -> Questions:
    """About `count` judged questions of every kind but relations, as many of each kind.

    The answer word is due at once in the one-word form, else behind the style's fixed phrase. Left
    out are questions with choices that begin with the same token.
    """
    table = pd.read_parquet(items / "vqa.parquet")
    table = table[table["kind"] != "relation"]
    each = -(-count // table["kind"].nunique())
    table = table.groupby("kind", sort=True).head(each)
    starts = [_starts(processor, row) for row in table["choices"]]
    apart = np.array([len(set(ids.tolist())) == len(ids) for ids in starts])
    table, starts = table[apart], [ids for ids, keep in zip(starts, apart, strict=True) if keep]
    images = np.load(items / "vqa_images.npy", mmap_mode="r", allow_pickle=False)
    forms = zip(table["style"], table["form"], strict=True)
    begun = ["" if form == "word" else LEAD[style].strip() for style, form in forms]
    shown = np.ascontiguousarray(images[table["image"].to_numpy()])
    asked = reading.asked(processor, image_tokens, table["prompt"].tolist(), begun, images=shown)
    choices = torch.nn.utils.rnn.pad_sequence(starts, batch_first=True, padding_value=-1)
    pairs = zip(table["choices"], table["value"], strict=True)
    true = np.array([list(words).index(value) for words, value in pairs])
    return Questions(asked, choices, true, table["kind"].to_numpy(dtype=str))


def _starts(processor: Any, choices: Any) -> Tensor:
    """The token that each choice begins with, int64 [choices]."""
    found = processor.tokenizer(list(choices), add_special_tokens=False)["input_ids"]
    return torch.tensor([ids[0] for ids in found])
