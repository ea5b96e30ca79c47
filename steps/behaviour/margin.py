"""The margin: how much likelier a model holds the true answer than the others of its closed set.

Read where the answer word is due: at once in the one-word form, else after the style's fixed
phrase (a rationale is skipped, so that the margin does not depend on what one would say).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from steps.data.questions import LEAD
from steps.models import load
from steps.models.sample import prompts


def margins(
    model: Any, processor: Any, rows: pd.DataFrame, pictures: np.ndarray, batch: int
) -> np.ndarray:
    """Log-odds of the true answer over the other choices, float [N].

    rows: an items table; pictures: its images uint8 [N, H, W, 3]. Where each answer is a token of
    its own, one pass over the question scores them all; else each answer is spelt out behind the
    question and scored by the summed log-probability of its tokens. An answer's end is not scored.
    """
    import torch

    margin = np.empty(len(rows))
    seen = load.reader(processor.image_processor)
    score = _words if _whole(processor.tokenizer, rows) else _spelt
    for some in batches(rows["form"], batch):
        part = rows.iloc[some]
        forms = zip(part["style"], part["form"], strict=True)
        begun = ["" if form == "word" else LEAD[style].strip() for style, form in forms]
        pixels = seen(pictures[some]).to(model.device)
        with torch.inference_mode():
            found = score(model, processor, part, begun, pixels, batch)
        for i, row, scores in zip(some, part.itertuples(), found, strict=True):
            right = torch.tensor([choice == row.value for choice in row.choices])
            margin[i] = float(scores[right][0] - torch.logsumexp(scores[~right], 0))
    return margin


def batches(forms: pd.Series, size: int) -> Iterator[np.ndarray]:
    """Positions of rows, at most `size` at once, in batches of one form each."""
    order = np.argsort(forms.to_numpy(), kind="stable")
    for form in sorted(set(forms)):
        rows = order[forms.to_numpy()[order] == form]
        yield from (rows[i : i + size] for i in range(0, len(rows), size))


def _whole(tokenizer: Any, rows: pd.DataFrame) -> bool:
    """Whether every choice is one token, whatever stands before it."""
    words = list(dict.fromkeys(word for choices in rows["choices"] for word in choices))
    return tokenizer.tokenize(" ".join([*words, *words])) == [*words, *words]


def _words(model, processor, part, begun, pixels, batch: int) -> list[Any]:
    """For each row the score of each choice, float64 [choices]: the logit of its token."""
    asked = prompts(processor, model.config.image_seq_length, part["prompt"].tolist(), begun)
    out = model(**asked.to(model.device), pixel_values=pixels, logits_to_keep=1)
    ids = [processor.tokenizer.convert_tokens_to_ids(list(c)) for c in part["choices"]]
    return [row[i].cpu() for row, i in zip(out.logits[:, -1].double(), ids, strict=True)]


def _spelt(model, processor, part, begun, pixels, batch: int) -> list[Any]:
    """The same, each choice by the summed log-probability of the tokens that spell it.

    Question and answer are turned into tokens together, since words may join; what all choices of
    a row have in common from the start on belongs to the question and cancels out.
    """
    import torch

    choices = [list(c) for c in part["choices"]]
    owner = [i for i, words in enumerate(choices) for _ in words]
    texts = [f"{begun[i]} {word}".strip() for i, words in enumerate(choices) for word in words]
    said = part["prompt"].tolist()
    found: list[float] = []
    at = np.cumsum([0, *map(len, choices)])
    asked = prompts(processor, model.config.image_seq_length, [said[i] for i in owner], texts)
    ids, mask = asked["input_ids"], asked["attention_mask"]
    lengths = mask.sum(1)
    own = [
        int(n) - _shared([ids[j, -lengths[j] :].tolist() for j in range(at[i], at[i + 1])])
        for i, n in zip(owner, lengths, strict=True)
    ]
    for start in range(0, len(owner), batch):
        rows = slice(start, start + batch)
        keep = max(own[rows]) + 1
        out = model(
            input_ids=ids[rows].to(model.device),
            attention_mask=mask[rows].to(model.device),
            pixel_values=pixels[owner[rows]],
            logits_to_keep=keep,
        )
        chances = out.logits[:, :-1].double().log_softmax(-1).cpu()
        told = ids[rows][:, ids.shape[1] - keep + 1 :]
        each = chances.gather(-1, told[..., None])[..., 0]
        found += [float(e[len(e) - n :].sum()) for e, n in zip(each, own[rows], strict=True)]
    return [
        torch.tensor(found[a:b], dtype=torch.float64) for a, b in zip(at[:-1], at[1:], strict=True)
    ]


def _shared(rows: list[list[int]]) -> int:
    """How many tokens all rows have in common from their start on."""
    count = 0
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return count
