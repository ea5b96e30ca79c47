"""Where the language model looks, head by head, and whether that matters.

All models read the same frozen answers. Four questions, each with its control: whether the words
that depend on the image look at the object they speak of (an untrained model), what the question's
words pay to the image and to what stands before it, whether looking rests on few heads (the
untrained model), and whether it matters: attention of anchors blocked (random and lowest rows),
visual heads silenced (random heads of the same layers), image tokens left out (random ones).

VAS, the visual attention score (2603.03825), is attention of the user's words on the image over
that on the system prompt, here on all that the template has before the image. Ours is a ratio of
means, since single rows may divide by nearly nothing. It also rises where the denominator shrinks,
so both parts are reported; where nothing stands before the image there is no ratio.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.behaviour import cuts, frozen, heads
from steps.behaviour.frozen import Batch
from steps.models import load
from steps.models.connectivity import reading
from steps.models.look import overlap, square
from steps.posttrain.credit.select import most
from steps.stage import StageError
from steps.whose import signed


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Read params.gaze.items frozen answers whole, and again with each intervention.

    items.parquet has one row a question and intervention (`gaze_none` is none): logp, the summed
    log-probability of the words that depend on the image, and hit, the share of them that are
    likeliest. looks.parquet: each question and layer; heads.parquet: each head; kept.parquet: each
    question, way to choose image tokens and share kept. Heads are scored on every other question
    and silenced on the rest. Returns `gaze/...`, means over questions, with `low` and `high` ends
    of 95 % bootstrap intervals over them. Raises StageError where image tokens make no square.
    """
    told, who = params.gaze, params.run
    table, pictures = frozen.answers(inputs["items"], told.items)
    # Short answers first: a batch is padded to its longest.
    order = np.argsort(table["response"].str.split().str.len(), kind="stable")
    table, pictures = table.iloc[order].reset_index(drop=True), pictures[order]
    model = load.vlm(inputs["model"]).to(load.device())
    processor = load.processor(inputs["model"])
    table["patches"] = list(_patches(model, table, pictures))
    boxed = np.stack(table["patches"]).any(1)
    tested = np.arange(len(table)) % 2 == 1
    if not (boxed & ~tested).any() or not tested.any():
        raise StageError(f"gaze.items = {told.items}: too few of them are about objects; raise it")
    seed, rng = who.seed or 0, np.random.default_rng(who.seed or 0)
    sums, cut, kept = _read(model, processor, table, pictures, told, seed)
    picked = cuts.strongest(heads.scores(sums["hits"][boxed & ~tested]), told.masked)
    drawn = [cuts.rivals(picked, rng) for _ in range(told.draws)]
    for name, rounds in (("heads", [picked]), ("random_heads", drawn)):
        cut.append(_silenced(name, rounds, model, processor, table[tested], pictures[tested], told))
    scored, looks = pd.concat(cut, ignore_index=True), heads.by_layer(table, sums)
    signed(scored, who).to_parquet(out / "items.parquet", index=False)
    looks.to_parquet(out / "looks.parquet", index=False)
    heads.by_head(sums, boxed, picked).to_parquet(out / "heads.parquet", index=False)
    kept.to_parquet(out / "kept.parquet", index=False)
    found = heads.where(looks) | heads.concentrated(sums["hits"][boxed])
    if who.arm == "none":  # an untrained model is the same beside every arm
        untrained = load.untrained(model, seed)
        empty = _looked(untrained, processor, table, pictures, told)
        null = heads.joined([gaze.totals() for *_, gaze, _ in empty])
        part = heads.where(heads.by_layer(table, null)) | heads.concentrated(null["hits"][boxed])
        found |= {f"untrained/{name}": value for name, value in part.items()}
    found |= cuts.drops(scored, rng)
    found |= _curve(kept, len(table))
    return {f"gaze/{name}": value for name, value in found.items()}


def rescored(params: Any, inputs: dict[str, Path], kept: Path, out: Path) -> dict[str, float]:
    """What `run` returns of questions, from the tables in the folder `kept`.

    Not kept is how often each head hits in each question, which `gaze/heads/...` rests on, and
    nothing of the untrained model.
    """
    del inputs, out
    scored, looks, every, rows = (
        pd.read_parquet(kept / f"{name}.parquet") for name in ("items", "looks", "heads", "kept")
    )
    picked = every.pivot(index="layer", columns="head", values="picked").to_numpy(bool)
    rng = np.random.default_rng(params.run.seed or 0)
    for _ in range(params.gaze.draws):  # so that the intervals' draws are those of `run`
        cuts.rivals(picked, rng)
    found = heads.where(looks) | cuts.drops(scored, rng) | _curve(rows, looks["item"].nunique())
    return {f"gaze/{name}": value for name, value in found.items()}


def _patches(model: Any, table: pd.DataFrame, pictures: np.ndarray) -> np.ndarray:
    """How far each image token lies in its question's boxes, [items, N]."""
    side = square(model, "gaze")
    return np.stack([overlap(boxes, side, pictures.shape[1]) for boxes in table["boxes"]])


def _looked(
    model: Any, processor: Any, table: pd.DataFrame, pictures: np.ndarray, told: Any
) -> Iterator[tuple[pd.DataFrame, Batch, heads.Gaze, Tensor]]:
    """Batch by batch its questions, the batch, what heads look at, and its words' chances."""
    layers = range(len(model.get_decoder().layers))
    if not set(told.layers) <= set(layers):
        raise StageError(f"gaze.layers = {told.layers}: the model has layers 0 to {layers[-1]}")
    for start in range(0, len(table), told.batch):
        some = table.iloc[start : start + told.batch]
        batch = Batch(model, processor, some, pictures[start : start + told.batch])
        gaze = heads.Gaze(batch, np.stack(some["patches"]), told.layers)
        with reading(model, layers, gaze):
            chances = batch.chances()
        yield some, batch, gaze, chances


def _read(
    model: Any,
    processor: Any,
    table: pd.DataFrame,
    pictures: np.ndarray,
    told: Any,
    seed: int,
) -> tuple[dict[str, np.ndarray], list[pd.DataFrame], pd.DataFrame]:
    """Sums of looks (`Gaze.totals`), rows of items.parquet, and kept.parquet."""
    sums, cut, kept = [], [], []
    for some, batch, gaze, chances in _looked(model, processor, table, pictures, told):
        sums.append(gaze.totals())
        cut.append(_scored("none", some, *batch.judged(chances)))
        dense = gaze.enrichment()
        # A question's draws are its own, whatever batch it is read in.
        draw = [np.random.default_rng([seed, number]).random for number in some.index]
        length = [len(owner) for owner in batch.owners]
        chance = [
            batch.spread([d(n) for d, n in zip(draw, length, strict=True)])
            for _ in range(told.draws)
        ]
        image = torch.zeros_like(batch.asked["attention_mask"], dtype=torch.bool)
        image[:, batch.image] = True
        rows = {
            name: [batch.rows(most(value, batch.real, told.share)) for value in values]
            for name, values in (("anchors", [dense]), ("random", chance), ("lowest", [-dense]))
        }
        for name, picks in rows.items():
            blind = [cuts.blocked(gaze.sight, pick, image) for pick in picks]
            judged = [batch.judged(batch.chances(sight)) for sight in blind]
            cut.append(_scored(name, some, *np.mean(judged, 0)))
        # With the answer at hand: for each token of the image, what these rows pay to it.
        paid, (anchors,) = gaze.paid(), rows["anchors"]
        reads = (batch.user | batch.rows(batch.real)).float()
        ways = {
            "attention": torch.einsum("brn,br->bn", paid, reads),
            "anchors": torch.einsum("brn,br->bn", paid, anchors.float()),
            "random": torch.from_numpy(np.stack([d(len(batch.image)) for d in draw])).to(paid),
        }
        kept += _kept(processor, some, batch, gaze.sight, ways, told.kept, chances)
    kept = pd.DataFrame(kept, columns=["item", "way", "share", "right"])
    return heads.joined(sums), cut, kept


def _kept(
    processor: Any,
    some: pd.DataFrame,
    batch: Batch,
    sight: Tensor,
    ways: dict[str, Tensor],
    shares: list[float],
    whole: Tensor,
) -> list[tuple[str, str, float, bool]]:
    """Item, way, share and whether the answer led its closed set, for answers it can be asked of.

    whole: chances [B, T, words] with all image tokens, which is what a share of 1 has.
    """
    first = cuts.closed(processor, some)
    rows = np.flatnonzero([ids is not None for ids in first])
    if not len(rows):
        return []
    found = []
    for way, values in ways.items():
        for share in shares:
            if share < 1:
                chances = batch.chances(cuts.hidden(batch, sight, values, share)[rows], rows)
            else:
                chances = whole[rows]
            for row, chance in zip(rows, chances, strict=True):
                item, owner = some.iloc[row], batch.owners[row]
                at = chance[-int((owner == owner[-1]).sum())]
                led = list(item["choices"])[int(at[first[row]].argmax())]
                found.append((item["item"], way, share, led == item["value"]))
    return found


def _silenced(
    name: str,
    rounds: list[np.ndarray],
    model: Any,
    processor: Any,
    table: pd.DataFrame,
    pictures: np.ndarray,
    told: Any,
) -> pd.DataFrame:
    """Rows of items.parquet with heads silenced, means over `rounds` of bool [layers, heads]."""
    parts = []
    for start in range(0, len(table), told.batch):
        some, shown = (part[start : start + told.batch] for part in (table, pictures))
        judged = []
        for marks in rounds:
            with cuts.silenced(model, marks):
                batch = Batch(model, processor, some, shown)
                judged.append(batch.judged(batch.chances()))
        parts.append(_scored(name, some, *np.mean(judged, 0)))
    return pd.concat(parts)


def _scored(name: str, some: pd.DataFrame, logp: np.ndarray, hit: np.ndarray) -> pd.DataFrame:
    rows = {"instrument": f"gaze_{name}", "item": some["item"], "logp": logp, "hit": hit}
    return pd.DataFrame(rows)


def _curve(kept: pd.DataFrame, items: int) -> dict[str, float]:
    """Share of answers that lead their closed set, by way and share of image tokens kept.

    left_out counts the questions that it cannot be asked of (`cuts.closed`).
    """
    right = kept.groupby(["way", "share"], sort=False)["right"].mean().reset_index()
    found = {f"kept/{way}/{share:g}": float(r) for way, share, r in right.itertuples(index=False)}
    return found | {"kept/left_out": float(items - kept["item"].nunique())}
