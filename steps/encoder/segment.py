"""Linear segmentation probe on patch tokens: what the encoder tells about every place.

DINOv2's and DINOv3's linear protocol on frozen features: tokens standardised (their batch norm,
with the exact statistics of train), one linear layer, logits upsampled bilinearly to the labels'
resolution, cross-entropy over all pixels, AdamW with a cosine schedule; IoU over the whole test
set from one confusion matrix, background counted as a class (as Pascal VOC does). The learning
rate is chosen on a slice of train, then the probe is trained on all of train.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from steps.data.readers import IGNORED
from steps.encoder import scores
from steps.encoder.features import load, places, prefix
from steps.encoder.head import fit, predict
from steps.stage import StageError


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Probe the patch tokens of `inputs['features']` against the maps in `inputs['probes']`.

    params.segment: epochs, batch, rates, select_share. Writes items.parquet (one row a test image
    and kind of map; raw holds its tp, fn and fp by class, so that data-set-level IoU can be
    bootstrapped) and maps.png. Returns `segment/<kind>/...` as shares in [0, 1].
    """
    from steps.encoder.maps import gallery
    from steps.track import log

    metrics, tables, maps = {}, [], {}
    probes = Path(inputs["probes"])
    for place in places(inputs["features"]):
        done, rows, told = probe(
            lambda name, place=place: load(inputs["features"], name, place),
            probes,
            params,
            prefix(place),
        )
        metrics |= done
        tables += rows
        maps = maps or told
    scores.write(tables, out)
    if (probes / "segment.parquet").is_file():
        log.figure(gallery(probes, maps, out / "maps.png"))
    return metrics


def probe(
    features: Callable[[str], np.ndarray], probes: Path, params: Any, prefix: str
) -> tuple[dict[str, float], list[pd.DataFrame], dict[str, np.ndarray]]:
    """Segmentation probes on one kind of features, for every kind of map that probes.json names.

    features(name) gives the patch tokens [N, P, D] of a probe set. Returns (metrics, tables of
    items, {kind: predicted maps of the test images [M, H, W]}).
    """
    known = json.loads((probes / "probes.json").read_text())
    sets = [
        # Categories of photographs: a set of its own.
        (kind, *(("photos_segment", "category") if kind == "photos" else ("segment", kind)), names)
        for kind, names in known.get("segment", {}).items()
    ]
    for name, of in known.get("sets", {}).items():
        sets += [(kind, name, kind, names) for kind, names in of.get("segment", {}).items()]
    metrics, tables, maps, told = {}, [], {}, params.segment
    for kind, name, file, objects in sets:
        names = ["background", *objects]
        rows = pd.read_parquet(probes / f"{name}.parquet")
        x = torch.from_numpy(np.asarray(features(name), dtype=np.float32))
        y = _labels(probes / f"{name}_{file}.npy", rows, len(x), len(names))
        seed = params.run.seed or 0
        maps[kind], rate = linear(x, y, rows, len(names), told, seed)
        test = np.flatnonzero(rows.split == "test")
        each = confusion(torch.from_numpy(maps[kind]), y[test], len(names))
        key = f"{prefix}segment/{kind}"
        metrics |= summary(key, each.sum(0), names) | {f"{key}/rate": rate}
        ids = scores.ids(rows.iloc[test], name)
        hit = np.diagonal(each, axis1=1, axis2=2)
        counts = np.stack([hit, each.sum(2) - hit, each.sum(1) - hit], 2)
        tables.append(_items(params.run, key, ids, counts, names))
        if told.patch_epochs:
            figures, part = _patches(x.numpy(), y.numpy(), rows, names, told, seed)
            metrics |= {f"{key}/patch/{n}": value for n, value in figures.items()}
            tables.append(_items(params.run, f"{key}/patch", ids, part, names))
    return metrics, tables, maps


def linear(
    x: torch.Tensor, y: torch.Tensor, rows: pd.DataFrame, classes: int, section: Any, seed: int
) -> tuple[np.ndarray, float]:
    """Train the head on tokens x [N, P, D] and maps y uint8 [N, H, W] where `rows.split` is train.

    Returns the predicted maps of the test images, uint8 [M, H, W], and the learning rate, chosen
    by mean IoU on a slice of train.
    """
    train, test = (np.flatnonzero(rows.split == s) for s in ("train", "test"))
    held = max(1, round(section.select_share * len(train)))
    shuffled = np.random.default_rng([seed, 3]).permutation(train)
    chosen, rest = shuffled[:held], shuffled[held:]
    best = (-1.0, 0.0)
    for rate in section.rates:
        w = fit(x[rest], y[rest], classes, rate, section.epochs, section.batch, seed)
        counts = confusion(predict(x[chosen], w, y.shape[1:]), y[chosen], classes).sum(0)
        best = max(best, (table(counts)["iou"].mean(), rate), key=lambda pair: pair[0])
    w = fit(x[train], y[train], classes, best[1], section.epochs, section.batch, seed)
    return predict(x[test], w, y.shape[1:]).numpy().astype(np.uint8), best[1]


def _patches(
    x: np.ndarray, y: np.ndarray, rows: pd.DataFrame, names: list[str], told: Any, seed: int
) -> tuple[dict[str, float], np.ndarray]:
    """Figures of the probe patch by patch, and its counts [M, C, 3] of tp, fn and fp."""
    from steps.encoder.patches import Recipe, probe

    train, test = (np.flatnonzero(rows.split == s) for s in ("train", "test"))
    rate = told.patch_rate
    recipe = Recipe(told.patch_hidden, told.patch_epochs, told.batch, rate, rate / 10)
    found = probe(x, y, names, train, test, recipe, seed, ignored=IGNORED)
    hit, wrong, missed = found.local.counts
    return found.metrics, np.stack([hit, missed, wrong], 2)


def confusion(told: torch.Tensor, y: torch.Tensor, classes: int) -> np.ndarray:
    """Pixel counts [N, true class, predicted class] of each of N maps, without ignored pixels."""
    image = torch.arange(len(y))[:, None, None]
    index = (image * classes + y.long()) * classes + told.long()
    counts = torch.bincount(index[y != IGNORED], minlength=len(y) * classes**2)
    return counts.reshape(len(y), classes, classes).numpy()


def table(counts: np.ndarray) -> pd.DataFrame:
    """IoU, precision, recall and F1 by class from one confusion matrix [true, predicted].

    A class that is neither in the maps nor predicted is left out, as in torchmetrics'
    MulticlassJaccardIndex.
    """
    hit, true, told = np.diag(counts), counts.sum(1), counts.sum(0)
    rows = pd.DataFrame(
        {
            "iou": hit / np.maximum(true + told - hit, 1),
            "precision": hit / np.maximum(told, 1),
            "recall": hit / np.maximum(true, 1),
            "f1": 2 * hit / np.maximum(true + told, 1),
        }
    )
    return rows[true + told > 0]


def summary(name: str, counts: np.ndarray, names: list[str]) -> dict[str, float]:
    """Metrics of one kind of map: mean IoU with and without background, macro precision, recall
    and F1 over all classes, share of right pixels, and each figure by class.
    """
    rows = table(counts)
    metrics = {
        f"{name}/miou": rows.iou.mean(),
        f"{name}/miou_objects": rows.iou[rows.index > 0].mean(),
        f"{name}/pixels_right": np.trace(counts) / counts.sum(),
    }
    metrics |= {f"{name}/{c}": rows[c].mean() for c in ("precision", "recall", "f1")}
    for c in rows.columns:
        metrics |= {f"{name}/{c}/{names[i]}": value for i, value in rows[c].items()}
    return {key: float(value) for key, value in metrics.items()}


def _items(run: Any, instrument: str, ids: np.ndarray, counts: np.ndarray, names: list[str]):
    """A row an image, from counts [M, C, 3] of tp, fn and fp; its score is the share found."""
    raw = [
        json.dumps({name: list(map(int, three)) for name, three in zip(names, each, strict=True)})
        for each in counts
    ]
    hit, missed = counts[..., 0].sum(1), counts[..., 1].sum(1)
    return scores.table(run, instrument, ids, raw, hit / (hit + missed).clip(1))


def _labels(path: Path, rows: pd.DataFrame, images: int, classes: int) -> torch.Tensor:
    """Maps uint8 [N, H, W], checked: one an image, no unknown class, more than background."""
    y = np.load(path, allow_pickle=False)
    train, test = (np.flatnonzero(rows.split == s) for s in ("train", "test"))
    if not len(train) or not len(test) or len(rows) != images:
        raise StageError(
            f"{path.parent} has {len(train)} training and {len(test)} test rows for {images} "
            f"images of {path.stem}: both splits need some, and a row an image"
        )
    if len(y) != images or y.ndim != 3:
        raise StageError(f"{path} has shape {y.shape}: it must be [{images}, height, width]")
    known = np.unique(y)
    known = known[known != IGNORED]
    if classes > IGNORED or (len(known) and known[-1] >= classes):
        raise StageError(
            f"{path} holds the class {known[-1]}, but probes.json names {classes} with background: "
            "run the stage `probes` again"
        )
    if len(np.setdiff1d(y[train], [IGNORED])) < 2:
        raise StageError(f"{path}: all training maps are one class; a probe needs two")
    return torch.from_numpy(y)
