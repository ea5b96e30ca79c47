"""Where the losses of post-training look: gradients at the encoder's and the projector's output.

PIVOT shows a dozen maps for its claim that DPO's gradients are better localised than SFT's, each
map on a scale of its own and with its border edited. Here every map is scored against the true
mask of the object asked about. All losses are read on every arm: on `sft` arms `answer` is the
arm's own, on `dpo` arms `preference`, on `grpo` arms `reward`; and what differs between losses on
one model is the loss, what differs between arms under one loss is the model. `describe` is the
control: the same images, with a request that asks for no object more than for another.

Two checks (Adebayo et al. 2018, 1810.03292), each with the same scores: `random_weights`, a model
of the same configuration that was never trained, where maps are to say nothing; and
`random_labels`, this model with another question's answers of the same kind. The second may keep
to the object, which the question names all the same; `alike` says how far maps change.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.data.requests import DESCRIBE
from steps.encoder import heatmaps, objects, pointing, saliency
from steps.models import load
from steps.models.look import square
from steps.track import log
from steps.whose import signed

SCORES = ("pointing", "energy", "enrichment", "elsewhere", "iou", "iou_chance", "entropy")
CHECKED = ("pointing", "energy", "enrichment", "iou", "alike")
Maps = dict[tuple[str, str, str], np.ndarray]
"""Maps [N, P] by loss, place and method."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Map and score the first params.localise.items pairs whose question is about one object.

    inputs: model, items (one seed's) and pairs (the base's and seed's), which hold the training
    questions as DPO has them. items.parquet has one row a question, loss, place and method,
    controls.parquet the same for both checks; maps.npy holds the maps, float32 [losses x places x
    methods, N, P] in the order of `saliency`; gallery.png shows some.
    Returns `localise/<loss>/<place>/<method>/<score>`, means over questions (`pointing.scores`),
    and the checks' under `localise/random_weights/...` and `localise/random_labels/...`. Raises
    StageError where image tokens make no square or fewer than two pairs are about one object.
    """
    told, who = params.localise, params.run
    seed = who.seed or 0
    model = load.vlm(inputs["model"]).to(load.device())
    processor = load.processor(inputs["model"])
    side = square(model, "localise")
    table = objects.asked(inputs["pairs"], inputs["items"], told.items)
    images, maps = (
        np.load(inputs["items"] / f"train_{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("images", "maps")
    )
    pictures, maps = (np.array(part[table["image"].to_numpy()]) for part in (images, maps))
    masks = objects.masks(table, maps)
    inside = pointing.patches(masks, side)
    other = table.iloc[objects.rivals(table, seed)]
    swapped = table.assign(**{name: other[name].to_numpy() for name in saliency.TEXTS})
    true, labels = mapped(model, processor, [table, swapped], pictures, told.batch)
    untrained = load.untrained(model, seed)
    (weights,) = mapped(untrained, processor, [table], pictures, told.batch)
    rng = np.random.default_rng(seed)
    scored = judged(table, true, inside, rng)
    checks = pd.concat(
        [
            judged(table, maps, inside, rng, true).assign(check=name)
            for name, maps in (("random_weights", weights), ("random_labels", labels))
        ]
    )
    signed(scored, who).to_parquet(out / "items.parquet", index=False)
    signed(checks, who).to_parquet(out / "controls.parquet", index=False)
    np.save(out / "maps.npy", np.stack(list(true.values())))
    log.figure(heatmaps.gallery(pictures, masks, true, side, out / "gallery.png"))
    found = {"items": len(table), "area": float(inside.mean())}
    found |= means(scored, SCORES)
    for name, rows in checks.groupby("check", sort=False):
        found |= {f"{name}/{key}": value for key, value in means(rows, CHECKED).items()}
    return {f"localise/{name}": value for name, value in found.items()}


def mapped(
    model: Any, processor: Any, tables: list[pd.DataFrame], pictures: np.ndarray, batch: int
) -> list[Maps]:
    """Maps of all losses on images uint8 [N, H, W, 3], for each table of answers to be read there.

    tables: columns prompt and `saliency.TEXTS`, one row an image.
    """
    model.requires_grad_(False)
    see = load.reader(processor.image_processor)
    parts: list[list[Maps]] = [[] for _ in tables]
    for start in range(0, len(pictures), batch):
        some = slice(start, start + batch)
        seen = saliency.read(model, see(pictures[some]).to(model.device))
        for table, kept in zip(tables, parts, strict=True):
            words = _texts(processor, model.config.image_seq_length, table.iloc[some])
            slopes = saliency.gradients(model, seen, words)
            tokens = slopes.pop("tokens")
            kept.append(
                {
                    (loss, place, method): (
                        saliency.gradient(slope)
                        if method == "gradient"
                        else saliency.gradcam(tokens[place], slope)
                    )
                    .cpu()
                    .numpy()
                    for loss, of in slopes.items()
                    for place, slope in of.items()
                    for method in saliency.METHODS
                }
            )
    return [{key: np.concatenate([m[key] for m in kept]) for key in kept[0]} for kept in parts]


def _texts(processor: Any, image_tokens: int, some: pd.DataFrame) -> dict[str, saliency.Text]:
    prompts = list(some["prompt"])
    words = {
        name: saliency.text(processor, image_tokens, prompts, list(some[name]))
        for name in ("chosen", "rejected")
    }
    asks, told = [DESCRIBE["a"]] * len(some), list(some["description"])
    # Without an end: the reference caption goes on, with the ground.
    words["description"] = saliency.text(processor, image_tokens, asks, told, ends=False)
    return words


def judged(
    table: pd.DataFrame, maps: Maps, inside: np.ndarray, rng: Any, others: Maps | None = None
) -> pd.DataFrame:
    """One row a question, loss, place and method: `pointing.scores` and iou_chance.

    others: maps to compare with instead, as `alike`.
    """
    parts = []
    for key, values in maps.items():
        names = dict(zip(("loss", "place", "method"), key, strict=True))
        rows = {"instrument": "_".join(("localise", *key)), **table[["item", "kind", "reason"]]}
        rows |= names | pointing.scores(values, inside)
        if others is None:
            rows["iou_chance"] = pointing.chance(values, inside, rng)
        else:
            rows["alike"] = pointing.alike(values, others[key])
        parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True)


def means(rows: pd.DataFrame, scores: tuple[str, ...]) -> dict[str, float]:
    """Means over questions: `<loss>/<place>/<method>/<score>`."""
    groups: Any = rows.groupby(["loss", "place", "method"], sort=False)[list(scores)]
    return {
        f"{loss}/{place}/{method}/{name}": float(part[name].mean())
        for (loss, place, method), part in groups
        for name in scores
    }
