"""Interventions on looking: attention blocked, heads silenced, image tokens left out.

Nothing is retrained and no position moves: a key that is blocked is as if it had not been there.
Blocked or left out are keys of the image alone, for rows behind it, and a row always sees itself,
so none is left without a key.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.behaviour.frozen import Batch, asked
from steps.posttrain.credit.select import most
from steps.stage import StageError

CONTRASTS = (("anchors", "random"), ("heads", "random_heads"))
"""Interventions and their controls."""
RESAMPLES = 2000


def sight(mask: Tensor, known: int) -> Tensor:
    """What each token behind the first `known` sees, bool [B, 1, R, P]: itself and all before it.

    mask [B, P]: 0 for padding, which only padding itself sees.
    """
    keys = torch.arange(mask.shape[1], device=mask.device)
    rows = keys[known:, None]
    return ((mask.bool()[:, None] & (keys <= rows)) | (keys == rows))[:, None]


def blocked(seen: Tensor, rows: Tensor, keys: Tensor) -> Tensor:
    """`seen` [B, 1, R, P] without the sight that rows bool [B, R] have of keys bool [B, P]."""
    return seen & ~(rows[:, None, :, None] & keys[:, None, None])


def hidden(batch: Batch, seen: Tensor, values: Tensor, share: float) -> Tensor:
    """`seen` [B, 1, R, P] with no more than a share of the image's tokens, by `values` [B, N].

    Kept are the ceil(share x N) of the largest values.
    """
    keys = torch.zeros_like(seen[:, 0, 0])
    keys[:, batch.image] = ~most(values, torch.ones_like(values, dtype=torch.bool), share)
    return blocked(seen, torch.ones_like(seen[:, 0, :, 0]), keys)


@contextmanager
def silenced(model: Any, heads: np.ndarray) -> Iterator[None]:
    """While open, heads bool [layers, heads] put out nothing: zeros before o_proj, in all rows."""
    hooks = []
    for layer, marks in zip(model.get_decoder().layers, heads, strict=True):
        place = layer.self_attn
        loud = torch.from_numpy(~marks).repeat_interleave(place.head_dim).to(model.device)
        hooks.append(
            place.o_proj.register_forward_pre_hook(lambda _, args, loud=loud: (args[0] * loud,))
        )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def strongest(score: np.ndarray, share: float) -> np.ndarray:
    """The ceil(share x heads) heads of largest score, bool [layers, heads]; at least one."""
    flat = torch.from_numpy(score).reshape(1, -1)
    return most(flat, torch.ones_like(flat, dtype=torch.bool), share).numpy().reshape(score.shape)


def rivals(heads: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many other heads as `heads` bool [layers, heads], drawn from the same layers.

    Where a layer has too few others, what is missing comes from any layer. Raises StageError where
    more than half of all heads are taken.
    """
    if 2 * heads.sum() > heads.size:
        raise StageError(
            f"gaze.masked takes {heads.sum()} of {heads.size} heads, which leaves too few to "
            "compare them with: lower it to at most 0.5"
        )
    drawn = np.zeros_like(heads)
    for layer, marks in enumerate(heads):
        rest = np.flatnonzero(~marks)
        drawn[layer, rng.choice(rest, min(marks.sum(), len(rest)), replace=False)] = True
    rest = np.flatnonzero(~(heads | drawn))
    drawn.flat[rng.choice(rest, heads.sum() - drawn.sum(), replace=False)] = True
    return drawn


def closed(processor: Any, some: pd.DataFrame) -> list[list[int] | None]:
    """For each answer the first token of each choice of its closed set, where the answer is due.

    None where that is not to be judged: where the answer is not the response's last word and the
    only one that depends on the image (behind a rationale it could be read off the text), or where
    choices begin with the same token.
    """
    found: list[list[int] | None] = [None] * len(some)
    told = []
    for i, row in enumerate(some.itertuples()):
        *lead, last = row.response.split()
        alone = list(row.depends) == [0] * len(lead) + [1]
        if alone and last == row.value and all(len(c.split()) == 1 for c in row.choices):
            told += [(i, row.prompt, " ".join([*lead, choice])) for choice in row.choices]
    if not told:
        return found
    every = pd.DataFrame(told, columns=["row", "prompt", "response"])
    ids, owners, _ = asked(processor, 1, every)
    every["first"] = [
        int(row[-(owner == owner[-1]).sum()])
        for row, owner in zip(ids["input_ids"], owners, strict=True)
    ]
    for i, part in every.groupby("row"):
        if part["first"].is_unique:
            found[i] = part["first"].tolist()
    return found


def drops(scored: pd.DataFrame, rng: np.random.Generator) -> dict[str, float]:
    """What each intervention takes, from rows of items.parquet; means over questions.

    drop/<name>: summed log-probability, in nats; lost/<name>: share of words that are no longer
    likeliest; <name>-<control>: the difference between two, question by question. With the ends
    `low` and `high` of 95 % intervals. none/logp, none/hit: what there was to lose.
    """
    found = {}
    for column, head in (("logp", "drop"), ("hit", "lost")):
        wide = scored.pivot(index="item", columns="instrument", values=column)
        wide.columns = wide.columns.str.removeprefix("gaze_")
        whole = wide.pop("none")
        found[f"none/{column}"] = float(whole.mean())
        taken = wide.rsub(whole, axis=0)
        for name, control in CONTRASTS:
            taken[f"{name}-{control}"] = taken[name] - taken[control]
        for name, values in taken.items():
            drop = values.dropna().to_numpy()
            low, high = interval(drop, rng)
            at = f"{head}/{name}"
            found |= {at: float(drop.mean()), f"{at}/low": low, f"{at}/high": high}
    return found


def interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """A 95 % percentile interval of the mean of values [N], over resamples of them."""
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
