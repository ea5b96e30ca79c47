"""What the dictionaries are worth: variance explained, and what splicing them in does to answers.

On each cell its own dictionary stands beside those that have not been adapted to it: S on M and D,
and S, M and D on F, by type of token. MF is measured against a dictionary
that starts at random and sees the same tokens, at the same learning rate and a higher one.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from steps.data.language import told
from steps.diff import activations, arrows, dictionary, stream
from steps.diff.activations import CELLS, TYPES
from steps.diff.reading import Asked, asked
from steps.diff.sae import saved, splice, topk
from steps.diff.sae.fit import fit
from steps.diff.sae.saved import Dictionary
from steps.diff.turning import measures
from steps.models import load
from steps.stage import StageError
from steps.track import log

READ_BY = {"S": ("S",), "D": ("S", "D"), "M": ("S", "M"), "F": ("S", "M", "D", "DF", "MF")}
"""The dictionaries that each cell is read by; the cell's own come last."""
SAMPLES = 128  # held-out samples that are read with splices, at most
LEAST = 10  # samples below which no figure is given
SPLICED = {"all": [0, 1, 2, 3], "image": [0], "text": [1, 2, 3]}
"""Token types at which a reconstruction is put."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Measure inputs['dictionary'] on inputs['harvest'], and in inputs['base'] on held-out items.

    params.diff: as for `dictionary`. Writes quality.parquet: site, dictionary, cell, tokens (of
    which type, or at which a splice was made), measure (fvu, loss and kl recovered against zero
    and mean ablation, right: share whose answer's first token is the likeliest), value, and low
    and high ends of 95 % bootstrap intervals over samples. Raises StageError for a sample whose
    item is not in inputs['items'].
    """
    harvest, base = Path(inputs["harvest"]), Path(inputs["base"])
    torch.set_num_threads(params.run.threads)
    sites = list(activations.facts(harvest)["sites"])
    found = {
        (site, name): saved.load(Path(inputs["dictionary"]) / site / name)
        for site in sites
        for name in ("S", "D", "M", "DF", "MF")
    }
    rows: list[tuple] = []
    for site in sites:
        for cell, names in READ_BY.items():
            rows += _explained(inputs, site, cell, {n: found[site, n] for n in names})
        rows += _explained(inputs, site, "F", _random(params, inputs, site, found[site, "S"]))
    items = _items(Path(inputs["items"]), harvest)
    if len(items.table) >= LEAST:
        dice = np.random.default_rng([params.run.seed, 13])
        for model in ("aligned", "instruct"):
            rows += _spliced(base / model, model, items, inputs, found, dice)
    else:
        log.text(f"quality: {len(items.table)} held-out samples, too few to splice into")
    columns = ["site", "dictionary", "cell", "tokens", "measure", "value", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    table.to_parquet(out / "quality.parquet", index=False)
    return _metrics(table)


def _explained(
    inputs: dict[str, Path], site: str, cell: str, by: dict[str, Dictionary]
) -> list[tuple]:
    """FVU of held-out tokens, all and by type, for each dictionary."""
    index = activations.index(Path(inputs["harvest"]), cell)
    held = (index["split"] == "eval").to_numpy()
    x, types = stream.read(inputs, cell, site, held), index["type"].to_numpy()[held]
    kinds = {"all": np.ones(len(x), bool)} | {kind: types == kind for kind in TYPES}
    found = []
    for name, one in by.items():
        one, parts = one.to(load.device()), x.split(dictionary.CHUNK)
        again = torch.cat([one.decode(one.codes(part.to(load.device()))).cpu() for part in parts])
        for kind, mask in kinds.items():
            if mask.sum() > 1:
                fvu = measures.fvu(x, again, torch.tensor(mask))
                found.append((site, name, cell, kind, "fvu", fvu, np.nan, np.nan))
    return found


def _random(
    params: Any, inputs: dict[str, Path], site: str, s: Dictionary
) -> dict[str, Dictionary]:
    """Dictionaries from random weights, fitted to F on as many tokens as the arrow to MF.

    `random` at that arrow's learning rate, `random_fast` at the first fit's, which is higher: what
    starts from nothing may need it.
    """
    want, scale = params.diff, s.config["metadata"]["scale"]
    plan = arrows.plans(want, params.run.seed)["MF"]
    mine = arrows.rows(Path(inputs["harvest"]), "F", want.on, half=arrows.HALVES["MF"])
    x = stream.read(inputs, "F", site, mine) * scale
    start = topk.start(x, want.width, torch.Generator().manual_seed(params.run.seed))
    fast = replace(plan, learning_rate=want.learning_rate)
    return {
        name: saved.scaled(fit({site: x}, {site: start}, of)[site], want.k, scale)
        for name, of in (("random", plan), ("random_fast", fast))
    }


@dataclass
class _Items:
    """Held-out samples: their items' rows, and images uint8 [N, H, W, 3]."""

    table: pd.DataFrame
    images: np.ndarray


def _items(folder: Path, harvest: Path) -> _Items:
    """The first held-out samples of the harvest, as their items say them."""
    index = activations.index(harvest, "F")
    names = index.loc[index["split"] == "eval", "item"].astype(str).drop_duplicates()[:SAMPLES]
    table = pd.read_parquet(folder / "train.parquet").set_index("item", drop=False)
    if missing := set(names) - set(table.index):
        raise StageError(
            f"{harvest} has the item {min(missing)}, which {folder} lacks: harvest these items"
        )
    table = table.loc[list(names)]
    images = np.load(folder / "train_images.npy", mmap_mode="r", allow_pickle=False)
    return _Items(table, np.array(images[table["image"].to_numpy()]))


def _asked(model: Any, processor: Any, items: _Items, kind: str) -> Asked:
    said = [" ".join(text.split()) for text in items.table["response"]]
    given: dict[str, Any] = {"images": items.images}
    if kind == "text":
        given = {"scenes": [told(json.loads(of)["things"]) for of in items.table["truth"]]}
    prompts = list(items.table["prompt"])
    return asked(processor, model.config.image_seq_length, prompts, said, **given)


def _spliced(
    folder: Path,
    name: str,
    items: _Items,
    inputs: dict[str, Path],
    found: dict[tuple[str, str], Dictionary],
    dice: np.random.Generator,
) -> list[tuple]:
    """What splices and ablations do to a model's answers, in its two cells."""
    model, harvest = load.vlm(folder).to(load.device()), Path(inputs["harvest"])
    processor = load.processor(folder)
    rows = []
    for cell, by in READ_BY.items():
        owner, kind = CELLS[cell]
        if owner != name:
            continue
        index = activations.index(harvest, cell)
        reader = splice.Reader(model, processor, _asked(model, processor, items, kind))
        for site in activations.facts(harvest)["sites"]:
            rows.append((site, "none", cell, "all", "right", *_share(reader.clean.right, dice)))
            mine = (index["split"] == "fit").to_numpy()
            x, types = stream.read(inputs, cell, site, mine), index["type"].cat.codes[mine]
            for tokens, codes in SPLICED.items():
                if kind == "text" and tokens != "all":
                    continue
                mean = x[torch.tensor(types.isin(codes).to_numpy())].mean(0).to(load.device())
                ways: dict[str, splice.Change] = {"zero": torch.zeros_like, "mean": mean.expand_as}
                for who in by:
                    one = found[site, who].to(load.device())
                    ways[who] = lambda v, one=one: one.decode(one.codes(v))
                read = {
                    way: reader.answers({site: (change, codes)}) for way, change in ways.items()
                }
                rows += [
                    (site, who, cell, tokens, *row)
                    for who in read
                    for row in _judged(reader.clean, read, who, dice)
                ]
    return rows


def _judged(
    clean: splice.Answers, read: dict[str, splice.Answers], who: str, dice: np.random.Generator
) -> list[tuple]:
    """Measures of one splice beside both ablations; of an ablation, only what it leaves right."""
    new = read[who]
    rows: list[tuple] = [("right", *_share(new.right, dice))]
    for way in ("zero", "mean") if who not in ("zero", "mean") else ():
        old = read[way]
        parts = {
            f"loss_{way}": splice.recovered(clean.loss, old.loss, new.loss, dice),
            f"kl_{way}": splice.recovered(clean.kl, old.kl, new.kl, dice),
        }
        rows += [(measure, *part) for measure, part in parts.items() if part]
    return rows


def _share(right: np.ndarray, dice: np.random.Generator) -> tuple[float, float, float]:
    draws = dice.integers(0, len(right), (splice.DRAWS, len(right)))
    low, high = np.quantile(right[draws].mean(1), (0.025, 0.975))
    return float(right.mean()), float(low), float(high)


def _metrics(table: pd.DataFrame) -> dict[str, float]:
    """The figures of the table, flat; and how much better MF is than one from random weights."""
    chosen = table[table["measure"].isin(["fvu", "loss_mean", "kl_mean", "right"])]
    found = {
        f"quality/{row.site}/{row.measure}/{row.dictionary}/{row.cell}/{row.tokens}": row.value
        for row in chosen.itertuples()
    }
    for site in table["site"].unique():
        fvu = {n: found[f"quality/{site}/fvu/{n}/F/all"] for n in ("MF", "random", "random_fast")}
        found[f"quality/{site}/warm_ratio"] = fvu["MF"] / fvu["random"]
        found[f"quality/{site}/warm_ratio_fast"] = fvu["MF"] / fvu["random_fast"]
    return found
