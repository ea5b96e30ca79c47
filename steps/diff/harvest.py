"""Collect what the language model gives at some sites before and after visual tuning.

Four cells: S and D of the language model before visual tuning, behind the
aligned projector, M and F of the model after it. D and F read image, question and reference
response (teacher forced); S and M read the scene told in words where the image was (its textual
twin), so that both kinds of input say what the question is about. Padding is left out, and so are
the leading tokens that all samples share: with causal attention each sample has the very same
vectors there, often of outlier size.

One forward pass a batch gives all sites. Memory is bounded by a batch (`stream.BATCH` samples)
times the sites, disk space by tokens times sites: with 32 layers of width 4096, 2.5 million tokens
are 0.65 TB. At that size run groups of layers (`diff.layers`) one after the other, or store nothing
(`diff.store: false`) and let the dictionaries read the model (`stream`).
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from steps import halt, manifest
from steps.diff import activations, hooks, samples
from steps.diff.samples import Sample
from steps.diff.stream import BATCH, forward, words
from steps.models import families, load
from steps.stage import Missing, StageError
from steps.track import log

SHARD = 256e6
"""Bytes of a shard, about; a run that was killed loses no more than one."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Write the four cells of inputs['base'] on items of inputs['items'] (see activations).

    params.diff.layers, params.diff.sites: which layers, and which kinds of site of each.
    params.diff.tokens: tokens with the image, at most. params.diff.store: whether activations are
    stored; without, only what `stream` needs. A killed run goes on from params.run.checkpoints, if
    given. Raises Missing where the base lacks its stage before visual tuning, StageError where its
    stages read differently, for a site that is not there, and where the disk has no room.
    """
    base, items, want = Path(inputs["base"]), Path(inputs["items"]), params.diff
    names = hooks.sites(want.layers, want.sites)
    processor = _processor(base)
    sites = _widths(base / "instruct", names)
    rows = samples.draw(items, params.run.seed)
    kinds = {"image": samples.take(processor, rows, want.tokens)}
    kinds["text"] = samples.encode(processor, rows[: len(kinds["image"])], image=False)
    tokens, shared = {}, {}
    for kind, some in kinds.items():
        shared[kind] = samples.leave_out_shared(some)
        table = samples.table(some)
        table.to_parquet(out / f"{kind}.parquet")
        tokens[kind] = len(table)
    hashes = {name: activations.weights(base / name) for name in ("aligned", "instruct")}
    cells = {
        cell: {"model": name, "input": kind, "tokens": tokens[kind], "hash": hashes[name]}
        for cell, (name, kind) in activations.CELLS.items()
    }
    size = sum(cell["tokens"] for cell in cells.values()) * sum(sites.values()) * 2
    log.text(
        f"harvest: {len(rows)} items on offer, {len(kinds['image'])} taken; {len(cells)} cells, "
        f"{tokens['image']} tokens each with the image and {tokens['text']} each in words, x "
        f"{sum(sites.values())} numbers at {len(sites)} sites ({', '.join(sites)}) x 2 bytes: "
        f"{_amount(size)}, {'stored' if want.store else 'of which nothing is stored (diff.store)'}"
        f"; a pass holds {_amount(_pass(kinds, sites))} of them in float32: where that is too "
        "much, run groups of diff.layers one after the other"
    )
    if want.store:
        _store(base, kinds, sites, processor, size, params, out)
    facts = {
        "sites": sites,
        "stored": bool(want.store),
        "cells": cells,
        "shared": shared,
        "tokenizer": words(base / "instruct"),
        "items": manifest.digest(items / "train.parquet"),
    }
    (out / "activations.json").write_text(json.dumps(facts, indent=1))
    return {
        "harvest/samples": len(kinds["image"]),
        "harvest/tokens": tokens["image"],
        "harvest/tokens_text": tokens["text"],
        "harvest/megabytes": size / 1e6 if want.store else 0.0,
    }


def _store(
    base: Path,
    kinds: dict[str, list[Sample]],
    sites: dict[str, int],
    processor: Any,
    size: int,
    params: Any,
    out: Path,
) -> None:
    """Write all shards: into the checkpoints' folder, where there is one, and from there to out."""
    place = Path(params.run.checkpoints or out)
    shards = _plan(kinds, sites)
    paths = {cell: [place / cell / name for name in some] for cell, some in shards.items()}
    done = [path for some in paths.values() for path in some if path.exists()]
    _room(place, size - sum(path.stat().st_size for path in done), params)
    log.resume(len(done))
    pixels = load.reader(processor.image_processor)
    for name in ("aligned", "instruct"):
        mine = [cell for cell, (model, _) in activations.CELLS.items() if model == name]
        if all(path.exists() for cell in mine for path in paths[cell]):
            continue
        model = load.vlm(base / name).to(load.device())
        hooks.stop_after(model, max(map(hooks.layer_of, sites)))
        for cell in mine:
            kind = activations.CELLS[cell][1]
            see = pixels if kind == "image" else None
            for path, some in zip(paths[cell], shards[cell].values(), strict=True):
                if not path.exists():
                    batches = (some[at : at + BATCH] for at in range(0, len(some), BATCH))
                    chunks = (forward(model, list(sites), batch, see) for batch in batches)
                    activations.write(path, chunks)
                    done.append(path)
                    log.metric("harvest/shards", len(done), len(done))
                    halt.kept()
        del model
    if place != Path(out):
        for path in (path for some in paths.values() for path in some):
            _put(path, Path(out) / path.relative_to(place))


def _plan(
    kinds: dict[str, list[Sample]], sites: dict[str, int]
) -> dict[str, dict[str, list[Sample]]]:
    """For each cell its shards' file names, and each one's samples: whole batches."""
    found = {}
    for cell, (_, kind) in activations.CELLS.items():
        some = kinds[kind]
        tokens = sum(len(s.ids) for s in some)
        batches = int(SHARD * len(some) / (tokens * 2 * sum(sites.values()) * BATCH))
        step = max(batches, 1) * BATCH
        found[cell] = {
            f"{number:05d}.safetensors": some[at : at + step]
            for number, at in enumerate(range(0, len(some), step))
        }
    return found


def _room(place: Path, need: float, params: Any) -> None:
    free = shutil.disk_usage(place).free
    if need > free:
        raise StageError(
            f"the activations need {_amount(need)} and {place} has {_amount(free)} free: lower "
            f"diff.tokens = {params.diff.tokens}, take fewer of diff.sites or diff.layers, or set "
            "diff.store: false"
        )


def _put(path: Path, target: Path) -> None:
    """A hard link, so that the checkpoint outlives a kill before the results are in place."""
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(path, target)
    except OSError:  # another file system, or one without links
        shutil.move(path, target)


def _pass(kinds: dict[str, list[Sample]], sites: dict[str, int]) -> float:
    """Bytes that a forward pass leaves at the sites, at most."""
    longest = max(len(s.ids) for some in kinds.values() for s in some)
    return 4.0 * BATCH * longest * sum(sites.values())


def _amount(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _widths(model: Path, names: list[str]) -> dict[str, int]:
    """Numbers a token has at each site, from a model without weights."""
    config = load.settings(model)
    with torch.device("meta"):
        empty = families.kind(config.model_type)._from_config(config)
    return {name: hooks.width(empty, name) for name in names}


def _processor(base: Path) -> Any:
    """What both stages of a base read with."""
    folders = [base / name for name in ("aligned", "instruct")]
    if not (folders[0] / "tokenizer.json").exists():
        raise Missing(
            f"{base} has no aligned/ (its stage before visual tuning), which model diffing needs: "
            "use a base that keeps its stages"
        )
    for of, what, one in (
        (words, "tokens", "tokenizer"),
        (lambda folder: load.images(folder).to_dict(), "images", "image processor"),
    ):
        if of(folders[0]) != of(folders[1]):
            raise StageError(
                f"{folders[0]} and {folders[1]} differ: both stages must read the same {what}; "
                f"save them with one {one}"
            )
    return load.processor(folders[1])
