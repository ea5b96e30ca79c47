"""Where the shown features fire when the tuned model reads judged questions.

Only the shown features' activations are kept, [questions, tokens, shown]: all others of a
dictionary live for one block of tokens.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.diff import hooks, reading
from steps.diff.reading import ANSWER, IMAGE, QUESTION, Asked
from steps.models.tokenizer import named

BLOCK = 2**25  # activations [tokens, features] of a dictionary held at once
OFTEN = 3  # times that a word has to occur to be listed


def fired(
    model: Any, processor: Any, some: Asked, dictionaries: dict[str, Any], shown: pd.DataFrame
) -> np.ndarray:
    """Activations float32 [N, P, shown] of the features in `shown` (columns site, feature).

    dictionaries: site to what reads it. Zero on padding and on what stands before the image.
    """
    values = np.zeros((*some.ids.shape, len(shown)), np.float32)
    mine = {site: np.flatnonzero(shown["site"] == site) for site in dictionaries}
    for part in reading.read(model, processor, some, list(dictionaries)):
        real = part.types >= 0
        for site, dictionary in dictionaries.items():
            wanted = torch.as_tensor(shown["feature"].to_numpy()[mine[site]])
            x = part.seen[site][real.to(part.seen[site].device)].float()
            block = np.zeros((*real.shape, len(wanted)), np.float32)
            block[real.numpy()] = _codes(dictionary, x, wanted).numpy()
            values[part.start : part.start + len(real), :, mine[site]] = block
    return values


@torch.inference_mode()
def _codes(dictionary: Any, x: Tensor, wanted: Tensor) -> Tensor:
    width = len(dictionary.weights["b_enc"])
    rows = max(BLOCK // width, 1)
    return torch.cat([dictionary.codes(part)[:, wanted].cpu() for part in x.split(rows)])


def largest(values: np.ndarray, some: Asked, types: tuple[int, ...]) -> np.ndarray:
    """Each question's largest activation over its tokens of these types, [N, shown]."""
    mask = np.isin(some.types.numpy(), types)
    return np.where(mask[..., None], values, 0).max(1)


def scenes(table: pd.DataFrame, peak: np.ndarray, count: int) -> list[int]:
    """Rows of the questions on which a feature fires most (peak [N]), one a scene, most first."""
    order = [int(row) for row in np.argsort(-peak, kind="stable") if peak[row] > 0]
    first = ~table["scene"].iloc[order].duplicated().to_numpy()
    return [row for row, new in zip(order, first, strict=True) if new][:count]


def words(values: np.ndarray, some: Asked) -> pd.DataFrame:
    """Of one feature (values [N, P]), for each word of questions and answers that occurs OFTEN.

    Columns: token (id), mean (activation over all its occurrences), count, share (of them on which
    it fires); the largest mean first.
    """
    mask = np.isin(some.types.numpy(), (QUESTION, ANSWER))
    rows = pd.DataFrame({"token": some.ids.numpy()[mask], "value": values[mask]})
    rows["fires"] = rows["value"] > 0
    found = rows.groupby("token").agg(
        mean=("value", "mean"), count=("value", "size"), share=("fires", "mean")
    )
    found = found[(found["count"] >= OFTEN) & (found["mean"] > 0)]
    return found.sort_values("mean", ascending=False, kind="stable").reset_index()


def places(values: np.ndarray, some: Asked) -> np.ndarray:
    """A feature's mean activation at each place of the image, in reading order; values [N, P]."""
    mask = some.types.numpy() == IMAGE
    return values[mask].reshape(len(values), -1).mean(0)


@torch.inference_mode()
def promoted(model: Any, site: str, directions: Tensor) -> Tensor:
    """Logits [f, words] that decoder rows [f, d] add when read by final norm and unembedding.

    The logit lens on a direction: W_U norm(d_j), less its mean over the words, which softmax does
    not see. Only the direct path: what later layers make of it is left out. Directions in front of
    an attention's output matrix go through it first.
    """
    kind, _, layer = site.partition(".")
    rows = directions.to(model.device)
    if kind == "heads":
        rows = rows @ hooks.decoder_layers(model)[int(layer)].self_attn.o_proj.weight.T
    logits = model.get_output_embeddings()(model.get_decoder().norm(rows)).float()
    return (logits - logits.mean(1, keepdim=True)).cpu()


def pieces(tokenizer: Any, ids: Any) -> list[str]:
    """The text of each token, with a blank before it where a word begins."""
    marks = ("Ġ", "▁")  # of byte-level and of SentencePiece vocabularies
    raw = named(tokenizer, [int(i) for i in ids])
    marked = any(token.startswith(marks) for token in tokenizer.get_vocab())
    return [
        (" " if not marked or token.startswith(marks) else "")
        + (tokenizer.decode([int(i)]).strip() or token)
        for i, token in zip(ids, raw, strict=True)
    ]
