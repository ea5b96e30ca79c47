"""Activations on disk: shards of one layer's output per cell, and an index that names each row.

    activations.json        layer, width, and for each cell its model, index and number of tokens
    image.parquet           one row a token of the cells with the image, in the shards' order:
    text.parquet            sample, item, position, token, type, split; the same without the image
    D/00000.safetensors     `layer.<n>` [tokens, d], float16 (float32 where that does not fit)

A cell is a model and a kind of input. Cells with the same kind of input share an index: row i is
the same token of the same sample in each.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from steps.stage import StageError

CELLS = {
    "S": ("aligned", "text"),
    "D": ("aligned", "image"),
    "M": ("instruct", "text"),
    "F": ("instruct", "image"),
}
"""Cell: the model (before or after visual tuning), and its input with or without the image."""
TYPES = ("image", "question", "answer")
SHARD = 50_000  # tokens
LARGEST = 6e4  # float16 ends at 65,504


def write(folder: Path, cell: str, layer: int, chunks: Iterable[Tensor]) -> None:
    """Store a cell's activations, given in order as chunks [n, d], in shards of SHARD tokens."""
    (folder / cell).mkdir(parents=True)
    for number, x in enumerate(_shards(chunks)):
        fits = bool(x.abs().max() < LARGEST)
        half = x.to(torch.float16 if fits else torch.float32).contiguous()
        save_file({f"layer.{layer}": half}, folder / cell / f"{number:05d}.safetensors")


def _shards(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    waiting: list[Tensor] = []
    for chunk in chunks:
        waiting.append(chunk)
        if sum(map(len, waiting)) >= SHARD:
            whole = torch.cat(waiting)
            while len(whole) >= SHARD:
                yield whole[:SHARD].clone()
                whole = whole[SHARD:]
            waiting = [whole]
    if sum(map(len, waiting)):
        yield torch.cat(waiting)


def facts(folder: Path) -> dict[str, Any]:
    """What activations.json says."""
    return json.loads((folder / "activations.json").read_text())


def index(folder: Path, cell: str) -> pd.DataFrame:
    """The table that names each row of a cell."""
    return pd.read_parquet(folder / f"{CELLS[cell][1]}.parquet")


def read(folder: Path, cell: str, keep: Any = None) -> Tensor:
    """A cell's activations, float32 [tokens, d]; of the rows in `keep` (bool [all tokens]).

    Raises StageError when shards and index do not hold the same number of tokens.
    """
    layer = facts(folder)["layer"]
    mask = None if keep is None else torch.tensor(keep)
    parts, at = [], 0
    for path in sorted((folder / cell).glob("*.safetensors")):
        x = load_file(path)[f"layer.{layer}"]
        rows = slice(None) if mask is None else mask[at : at + len(x)]
        parts.append(x[rows].float())
        at += len(x)
    if at != (expected := facts(folder)["cells"][cell]["tokens"]):
        raise StageError(f"{folder / cell} holds {at} tokens where {expected} were written")
    return torch.cat(parts)
