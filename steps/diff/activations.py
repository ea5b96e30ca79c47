"""Activations on disk: shards of what a model gives at some sites, and an index of each row.

    activations.json        sites (width of each), whether they are stored, and for each cell its
                            model, the sha256 of that model's weights, its input, number of tokens
    image.parquet           one row a token of the cells with the image, in the shards' order:
    text.parquet            sample, item, split, position, token, type; the same for the scene told
                            in words
    D/00000.safetensors     a tensor [tokens, width] for each site, `residual.2`, ...: float16
                            (float32 where that does not fit)

A cell is a model and a kind of input. Cells with the same kind of input share an index: row i is
the same token of the same sample in each. Sites are named as in `hooks`.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from steps import manifest
from steps.place import private
from steps.stage import Missing, StageError

CELLS = {
    "S": ("aligned", "text"),
    "D": ("aligned", "image"),
    "M": ("instruct", "text"),
    "F": ("instruct", "image"),
}
"""Cell: the model (before or after visual tuning), and its input, the image or the scene told."""
TYPES = ("image", "question", "answer", "told")
LARGEST = 6e4  # float16 ends at 65,504


def half(x: Tensor) -> Tensor:
    """Activations as they are stored: float16, or float32 where one would not fit."""
    return x.to(torch.float16 if bool(x.abs().max() < LARGEST) else torch.float32)


def write(path: Path, chunks: Iterable[dict[str, Tensor]]) -> None:
    """Store a shard, given in order as chunks {site: [n, d]}, whole or not at all."""
    parts: dict[str, list[Tensor]] = {}
    for chunk in chunks:
        for site, x in chunk.items():
            parts.setdefault(site, []).append(half(x).cpu())
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = private(path)
    save_file({site: torch.cat(some) for site, some in parts.items()}, temporary)
    temporary.replace(path)


def facts(folder: Path) -> dict[str, Any]:
    """What activations.json says."""
    return json.loads((folder / "activations.json").read_text())


def index(folder: Path, cell: str) -> pd.DataFrame:
    """The table that names each row of a cell."""
    return pd.read_parquet(folder / f"{CELLS[cell][1]}.parquet")


def read(folder: Path, cell: str, site: str, keep: Any = None) -> Tensor:
    """A cell's activations at a site, float32 [tokens, d]; of the rows in `keep` (bool [tokens]).

    Raises StageError for a site that was not harvested, for a harvest that stored nothing, and
    when shards and index do not hold the same number of tokens.
    """
    told = facts(folder)
    if site not in told["sites"]:
        raise StageError(
            f"{folder} has no site {site!r}: it has {', '.join(told['sites'])}; to harvest others, "
            "set diff.layers and diff.sites"
        )
    if not told["stored"]:
        raise StageError(
            f"{folder} was harvested with diff.store = false and holds no activations: set "
            "diff.store: true where they are to be read from disk"
        )
    paths = sorted((folder / cell).glob("*.safetensors"))
    lengths = [_length(path, site) for path in paths]
    expected = told["cells"][cell]["tokens"]
    if sum(lengths) != expected:
        raise StageError(
            f"{folder / cell} holds {sum(lengths)} tokens where {expected} were written"
        )
    mask = torch.from_numpy(np.ones(expected, bool) if keep is None else np.array(keep, bool))
    found = torch.empty(int(mask.sum()), told["sites"][site])
    at = 0
    for path, rows in zip(paths, mask.split(lengths), strict=True):
        with safe_open(path, "pt") as shard:
            part = shard.get_tensor(site)[rows]
        found[at : at + len(part)] = part
        at += len(part)
    return found


def _length(path: Path, site: str) -> int:
    with safe_open(path, "pt") as shard:
        return shard.get_slice(site).get_shape()[0]


def of(folder: Path, cell: str, model: Path) -> Callable[..., Tensor]:
    """`read` for a cell (site, keep), once its activations are known to be this model's.

    Raises StageError for those of another model: weights are compared by their hash.
    """
    if (told := facts(folder)["cells"][cell])["hash"] != weights(model):
        raise StageError(
            f"{folder / cell} holds activations of another model than {model} (its "
            f"{told['model']} had other weights): run the harvest again"
        )
    return partial(read, folder, cell)


def weights(model: Path) -> str:
    """SHA-256 of a model folder's model.safetensors; of its shards' hashes where there are some.

    Raises Missing for a folder without weights.
    """
    paths = sorted(model.glob("*.safetensors"))
    if not paths:
        raise Missing(f"{model} has no model.safetensors: give a folder that holds a model")
    hashes = [manifest.digest(path) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
