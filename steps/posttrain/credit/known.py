"""Which tokens of sampled answers are known to depend on the image: the embedded world's truth."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from steps.data.depends import marks
from steps.models.sample import prompts
from steps.models.tokenizer import named
from steps.stage import StageError


def words(
    processor: Any, image_tokens: int, items: pd.DataFrame
) -> Callable[[Tensor, Tensor], Tensor]:
    """A function from ids of prompts [B, P] and answers [B, T] to marks [B, T], bool.

    items: the questions that prompts may hold, with `prompt` and `kind`. image_tokens: those of
    one image. Raises StageError where the tokenizer's tokens are not words.
    """
    tokenizer = processor.tokenizer
    kinds = dict(zip(items["prompt"], items["kind"], strict=True))
    split = next((p for p in kinds if tokenizer.tokenize(p) != p.split()), None)
    if split is not None:
        raise StageError(
            f"grpo.credit = 'oracle' needs a tokenizer with a token a word, but this base's makes "
            f"{len(tokenizer.tokenize(split))} tokens of {split!r}: choose another rule"
        )
    asked = prompts(processor, image_tokens, list(kinds), [""] * len(kinds))
    rows = zip(asked["input_ids"], asked["attention_mask"].bool(), strict=True)
    known = {tuple(ids[mask].tolist()): text for (ids, mask), text in zip(rows, kinds, strict=True)}
    pad = tokenizer.pad_token_id

    def depends(prompt_ids: Tensor, answer_ids: Tensor) -> Tensor:
        found = []
        for prompt, answer in zip(prompt_ids.tolist(), answer_ids.tolist(), strict=True):
            text = known[tuple(t for t in prompt if t != pad)]
            found.append(marks(kinds[text], text, named(tokenizer, answer)))
        return torch.tensor(found, dtype=torch.bool)

    return depends
