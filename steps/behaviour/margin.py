"""The margin: how much likelier a model holds the true answer than the others of its closed set.

Read where the answer word is due: at once in the one-word form, else after the style's fixed
phrase (a rationale is skipped, so that the margin does not depend on what one would say).
"""

from typing import Any

import numpy as np
import pandas as pd

from steps.data.questions import LEAD
from steps.models.look import Looked


def margins(seen: Looked, rows: pd.DataFrame) -> np.ndarray:
    """Log-odds of the true answer over the other choices, float [N].

    seen: the images [N] of the questions `rows` (an items table). Where each answer is a token of
    its own, one pass over the question scores them all; else each answer is spelt out behind the
    question and scored by the summed log-probability of its tokens. An answer's end is not scored.
    """
    import torch

    forms = zip(rows["style"], rows["form"], strict=True)
    begun = ["" if form == "word" else LEAD[style].strip() for style, form in forms]
    score = _words if _whole(seen.processor.tokenizer, rows) else _spelt
    margin = np.empty(len(rows))
    for i, (row, scores) in enumerate(
        zip(rows.itertuples(), score(seen, rows, begun), strict=True)
    ):
        right = torch.tensor([choice == row.value for choice in row.choices])
        margin[i] = float(scores[right][0] - torch.logsumexp(scores[~right], 0))
    return margin


def _whole(tokenizer: Any, rows: pd.DataFrame) -> bool:
    """Whether every choice is one token, whatever stands before it."""
    words = list(dict.fromkeys(word for choices in rows["choices"] for word in choices))
    return tokenizer.tokenize(" ".join([*words, *words])) == [*words, *words]


def _words(seen: Looked, rows: pd.DataFrame, begun: list[str]) -> list[Any]:
    """For each row the score of each choice, float64 [choices]: the logit of its token."""
    asked = seen.asked(rows["prompt"].tolist(), begun)
    logits = seen.logits(asked, np.arange(len(rows)), 1)[:, -1].double().cpu()
    ids = [seen.processor.tokenizer.convert_tokens_to_ids(list(c)) for c in rows["choices"]]
    return [row[i] for row, i in zip(logits, ids, strict=True)]


def _spelt(seen: Looked, rows: pd.DataFrame, begun: list[str]) -> list[Any]:
    """The same, each choice by the summed log-probability of the tokens that spell it.

    Question and answer are turned into tokens together, since words may join; what all choices of
    a row have in common from the start on belongs to the question and cancels out.
    """
    import torch

    choices = [list(c) for c in rows["choices"]]
    owner = np.repeat(np.arange(len(rows)), [len(words) for words in choices])
    texts = [f"{begun[i]} {word}".strip() for i, words in enumerate(choices) for word in words]
    found: list[float] = []
    at = np.cumsum([0, *map(len, choices)])
    asked = seen.asked([rows["prompt"].iloc[i] for i in owner], texts)
    ids, mask = asked["input_ids"], asked["attention_mask"]
    lengths = mask.sum(1)
    whole = [row[m.bool()].tolist() for row, m in zip(ids, mask, strict=True)]
    own = [int(n) - _shared(whole[at[i] : at[i + 1]]) for i, n in zip(owner, lengths, strict=True)]
    for start in range(0, len(owner), len(rows)):
        some = slice(start, start + len(rows))
        keep = max(own[some]) + 1
        part = {name: value[some] for name, value in asked.items()}
        logits = seen.logits(part, owner[some], keep)
        chances = logits[:, :-1].double().log_softmax(-1)
        told = ids[some][:, ids.shape[1] - keep + 1 :]
        each = chances.gather(-1, told[..., None])[..., 0].cpu()
        found += [float(e[len(e) - n :].sum()) for e, n in zip(each, own[some], strict=True)]
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
