"""DAPO's dynamic sampling (Yu et al. 2025, 2503.14476, equation 11), which TRL does not have.

Groups whose answers are all right or all wrong teach nothing. They give way to groups of other
questions that do, until the batch is full or a number of rounds is over; what is flat then stays,
without a gradient.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl.trainer.utils import pad

from steps.stage import StageError

SIDES = {"prompt_ids": "left", "prompt_mask": "left"}
"""Where a batch's columns are padded; all other columns of tokens are padded on the right."""
WHOLE = ("num_images", "num_items_in_batch")
"""What a batch has besides tensors with a row an answer."""


def flat(batch: dict[str, Any], group: int) -> Tensor:
    """Which groups of `group` answers have no advantage among them, bool [groups]."""
    return (batch["advantages"].reshape(-1, group) == 0).all(1)


def others(data: Any, count: int, group: int, key: list[int]) -> list[dict[str, Any]]:
    """`count` rows of a dataset, drawn by the random key, each repeated for its group."""
    rows = np.random.default_rng(key).permutation(len(data))[:count]
    rows = np.resize(rows, count)
    return [data[int(i)] for i in rows for _ in range(group)]


def spliced(batch: dict[str, Any], more: dict[str, Any], group: int, pads: int) -> int:
    """Put groups of `more` that are not flat in the places of groups of `batch` that are.

    Both as TRL makes them: a dict of tensors with a row an answer. pads: the padding token. The
    columns of `batch` are replaced in place; returns how many groups gave way.
    """
    old = flat(batch, group).nonzero()[:, 0]
    new = (~flat(more, group)).nonzero()[:, 0]
    count = min(len(old), len(new))
    to, of = (_rows(groups[:count], group) for groups in (old, new))
    for name in [name for name in batch if name not in WHOLE]:
        mine, theirs = batch[name], more[name]
        if not isinstance(mine, Tensor) or len(mine) != len(batch["advantages"]):
            raise StageError(
                f"grpo.refill needs a model with one entry an answer, and this one's {name} is "
                "made otherwise: set grpo.refill to 0"
            )
        if mine.dim() == 2 and mine.shape[1] != theirs.shape[1]:
            value = pads if name.endswith("_ids") else 0
            rows = pad([*mine, *theirs], value, SIDES.get(name, "right"))
            mine, theirs = rows[: len(mine)], rows[len(mine) :]
        mine = mine.clone()
        mine[to] = theirs[of]
        batch[name] = mine
    return count


def _rows(groups: Tensor, size: int) -> Tensor:
    return (groups[:, None] * size + torch.arange(size, device=groups.device)).flatten()
