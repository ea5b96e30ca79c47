"""Answers to one question in one row: the image and what they begin with are read once.

The answers of a group, and the two halves of a preference pair, stand behind the same image and
question, by far the larger part of their tokens, and trainers run a copy of it for each. Inside
`grouped`, rows with the same image become one: first what all of them begin with, then each row's
own rest, which sees that beginning and itself, at the positions that it has alone (Prefix Grouper,
2506.05433). What TRL is given back has its own shape. Log-probabilities are the same, and so are
gradients, up to the order of summation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.models import families
from steps.models.look import distinct
from steps.models.packed import mask as sight

PER_TOKEN = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1", "label_mask")
"""What TRL's forward gives for each token."""


@dataclass(frozen=True)
class Layout:
    """Where B rows of at most L tokens stand in G packed rows of at most W.

    ids, segments, positions int64 [G, W]: segments are numbered, the beginning is 0, padding -1.
    row int64 [B]: each row's packed one; place int64 [B, L]: where in it each of its tokens is.
    """

    ids: Tensor
    segments: Tensor
    positions: Tensor
    row: Tensor
    place: Tensor

    def spread(self, packed: Tensor) -> Tensor:
        """Packed values [G, W, ...] as rows have them [B, L, ...]; anything for padding."""
        return packed[self.row[:, None], self.place]


class Reads:
    """How the last pass was packed, if it was; how many images and tokens it read."""

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self.images = self.tokens = 0

    def rows(self, packed: Tensor) -> Tensor:
        """States of the last pass, [G, W, D], as rows have them [B, L, D]."""
        return packed if self.layout is None else self.layout.spread(packed)

    def heads(self, packed: Tensor) -> Tensor:
        """Queries or keys of the last pass, [G, H, W, D], as rows have them [B, H, L, D]."""
        return self.rows(packed.transpose(1, 2)).transpose(1, 2)


@contextmanager
def grouped(model: Any) -> Iterator[Reads]:
    """While open, passes that TRL asks a model for log-probabilities of share what rows share.

    Passes without an image, those whose rows differ before their image ends, and those of families
    whose tokens see or count otherwise than one after another are as they were.
    """
    reads, labels = Reads(), []
    packs = families.of(model).PACKS

    def pack(module: Any, args: tuple, given: dict[str, Any]) -> Any:
        if not given.get("fused_lm_head") or given.get("labels") is None:
            return args, given
        ids, mask, pixels = (given.get(k) for k in ("input_ids", "attention_mask", "pixel_values"))
        first, owner = (
            ([], []) if pixels is None else distinct(pixels.detach().float().cpu().numpy())
        )
        found = layout(ids, mask, owner) if packs and len(owner) == len(ids) else None
        if pixels is None or found is None or not whole(found, ids, first):
            reads.layout, reads.images, reads.tokens = None, len(owner), int(mask.sum())
            return args, given
        reads.layout, reads.images = found, len(first)
        reads.tokens = int((found.segments >= 0).sum())
        labels.append(given["labels"])
        return args, given | {
            "input_ids": found.ids,
            "attention_mask": sight(found.segments).to(model.dtype),
            "position_ids": found.positions,
            "pixel_values": pixels[first],
            "labels": None,
            "shift_labels": shifted(found, given["labels"], mask),
        }

    def whole(found: Layout, ids: Tensor, first: list[int]) -> bool:
        """Whether every packed row has its image once."""
        before, after = (int((t == model.config.image_token_id).sum()) for t in (ids, found.ids))
        return before * len(first) == after * len(ids)

    def unpack(module: Any, args: Any, out: Any) -> Any:
        if not labels:
            return out
        void = labels.pop()[:, 1:] == -100
        fields = {k: v for k in PER_TOKEN if (v := getattr(out, k)) is not None}
        spread = {k: reads.rows(v)[:, :-1].masked_fill(void, 0) for k, v in fields.items()}
        return replace(out, loss=None, **spread)

    handles = [
        model.register_forward_pre_hook(pack, with_kwargs=True),
        model.register_forward_hook(unpack),
    ]
    try:
        yield reads
    finally:
        reads.layout = None
        for handle in handles:
            handle.remove()


def layout(ids: Tensor, mask: Tensor, owner: list[int]) -> Layout:
    """Pack rows of tokens [B, L], padded anywhere, with their masks; owner [B]: whose image.

    The last token that rows share is in each row's own part again: what follows it differs.
    """
    told, there = ids.cpu().numpy(), mask.bool().cpu().numpy()
    columns = [np.flatnonzero(row) for row in there]
    texts = [row[c] for row, c in zip(told, columns, strict=True)]
    place = np.zeros(told.shape, np.int64)
    packed: list[list[np.ndarray]] = [[], [], []]
    for number in range(max(owner) + 1):
        rows = [b for b, of in enumerate(owner) if of == number]
        start = max(0, _shared([texts[b] for b in rows]) - 1)
        parts = [np.zeros(start, np.int64)]
        words, where, at = [texts[rows[0]][:start]], [np.arange(start)], start
        for segment, b in enumerate(rows, 1):
            rest = len(texts[b]) - start
            place[b, columns[b]] = [*range(start), *range(at, at + rest)]
            words.append(texts[b][start:])
            where.append(np.arange(start, start + rest))
            parts.append(np.full(rest, segment))
            at += rest
        for made, values in zip(packed, (words, parts, where), strict=True):
            made.append(np.concatenate(values))
    stacked = (_stack(rows, fill) for rows, fill in zip(packed, (0, -1, 0), strict=True))
    found = [torch.from_numpy(a).to(ids.device) for a in (*stacked, np.array(owner), place)]
    return Layout(*found)


def shifted(found: Layout, labels: Tensor, mask: Tensor) -> Tensor:
    """For each packed token the label of the one that follows it in its row, else -100 [G, W]."""
    told, there = labels.cpu().numpy(), mask.bool().cpu().numpy()
    next_one = np.full(found.ids.shape, -100)
    rows, places = found.row.tolist(), found.place.cpu().numpy()
    for b, row in enumerate(rows):
        columns = np.flatnonzero(there[b])
        next_one[row, places[b, columns[:-1]]] = told[b, columns[1:]]
    return torch.from_numpy(next_one).to(labels.device)


def _shared(texts: list[np.ndarray]) -> int:
    """How many tokens all of the texts begin with."""
    least = min(map(len, texts))
    same = np.all([text[:least] == texts[0][:least] for text in texts], axis=0)
    return least if same.all() else int(same.argmin())


def _stack(rows: list[np.ndarray], fill: int) -> np.ndarray:
    """Rows padded on the right to the longest, int64."""
    found = np.full((len(rows), max(map(len, rows))), fill)
    for row, values in zip(found, rows, strict=True):
        row[: len(values)] = values
    return found
