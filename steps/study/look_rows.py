"""What a look at two checkpoints reads and tells: one's own questions, and rows with intervals."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.stage import StageError

DRAWS, SURE = 1000, 0.95
Row = dict[str, Any]


def layout(data: Path) -> str | None:
    """How a folder of images is laid out: masks, imagefolder, or None for questions alone."""
    if (data / "images").is_dir() and (data / "masks").is_dir():
        return "masks"
    classes = [p for p in data.iterdir() if p.is_dir() and p.name != "images"]
    return "imagefolder" if len(classes) > 1 else None


def questions(data: Path) -> tuple[pd.DataFrame, list[Path]]:
    """The items of DATA/items.jsonl as a table that `vqa` reads, and the image of each.

    Raises StageError that names the line for what cannot be asked.
    """
    rows, images, file = [], [], data / "items.jsonl"
    for number, line in enumerate(file.read_text().splitlines(), 1):
        where = f"{file}, line {number}"
        try:
            told = json.loads(line)
            image, prompt, answer = (told[key] for key in ("image", "prompt", "answer"))
        except (ValueError, KeyError, TypeError):
            raise StageError(f"{where}: give image, prompt and answer as one JSON object") from None
        if len(str(answer).split()) != 1:
            raise StageError(f"{where}: answer {answer!r} must be one word to be scored")
        if not (data / str(image)).is_file():
            raise StageError(f"{where}: there is no image {data / str(image)}")
        images.append(data / str(image))
        rows.append({"item": f"own{number}", "prompt": str(prompt), "value": str(answer)})
    if not rows:
        raise StageError(f"{file} is empty: give a line for each question, or leave it out")
    table = pd.DataFrame(rows).assign(kind="own", form="word", style="a", novel=False)
    table["choices"] = [sorted(set(table["value"]))] * len(table)
    return table, images


def ask(own: tuple[pd.DataFrame, list[Path]], model: Path, section: Any, out: Path) -> None:
    """Ask a model one's own questions, by the stage `vqa`'s functions; writes items.parquet."""
    from PIL import Image

    from steps.behaviour import vqa
    from steps.models import load

    table, paths = own
    vlm, processor = load.vlm(model).to(load.device()), load.processor(model)
    side = vlm.config.vision_config.image_size
    pictures = np.stack(
        [np.asarray(Image.open(p).convert("RGB").resize((side, side))) for p in paths]
    )
    texts, _ = vqa.ask(vlm, processor, table, pictures, section.batch, section.max_tokens)
    out.mkdir(parents=True)
    scored = vqa.score(table, texts)
    scored.assign(instrument="own questions").to_parquet(out / "items.parquet", index=False)


def strange(base: Path) -> str | None:
    """A word of the embedded world that a model has no token for, if there is one."""
    from transformers import AutoTokenizer

    from steps.data.language import vocabulary

    words = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
    known = words.get_vocab()
    return next((word for word in vocabulary() if word not in known), None)


def configs(base: Path, arm: Path) -> list[list[str]]:
    """Keys of config.json that differ: key, the base's value, the arm's; none for an adapter."""
    files = [folder / "config.json" for folder in (base, arm)]
    if not all(file.is_file() for file in files):
        return []
    old, new = (dict(_flat(json.loads(file.read_text()))) for file in files)
    keys = sorted(k for k in old | new if old.get(k) != new.get(k))
    return [[key, str(old.get(key)), str(new.get(key))] for key in keys]


def _flat(told: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in told.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def rows(metrics: dict[tuple[str, str], dict[str, float]], work: Path) -> list[Row]:
    """A row for each figure of either model: group, label, base, arm, difference, low, high, n.

    Intervals are percentile bootstraps over items, the same ones for both models. Drift has one
    figure, of the arm beside the base, and no interval here.
    """
    found: list[Row] = []
    for group, column in (("own", "lenient"), ("vqa", "lenient"), ("vqa", "strict")):
        found += _items(work / group, f"questions, {column}", column)
    found += _items(work / "classify", "classification probes, right", "lenient")
    found += _items(work / "segment", "segmentation probes, mean IoU", "raw", _miou)
    if (work / "localise/arm/items.parquet").is_file():
        found += _items(work / "localise", "gradients on the object, times chance", "enrichment")
    for name, value in metrics.get(("drift", "arm"), {}).items():
        kind = name.split("/")[1]
        if kind in ("cka", "procrustes", "weights", "knn"):
            row = {"group": "drift of the eye", "label": name.removeprefix("drift/")}
            found.append(row | {"base": None, "arm": value, "n": None})
    return found


def _items(
    folder: Path, group: str, column: str, figure: Callable[[Any, Any], Any] | None = None
) -> list[Row]:
    """Rows of one stage, one for each instrument (and loss, place and method) of its items."""
    files = [folder / whose / "items.parquet" for whose in ("base", "arm")]
    if not all(file.is_file() for file in files):
        return []
    old, new = (pd.read_parquet(file) for file in files)
    by = [c for c in ("loss", "place", "method") if c in old] or ["instrument"]
    told = []
    for key, one in old.groupby(by, sort=False):
        other = new[(new[by] == list(key)).all(axis=1)]
        if list(one["item"]) != list(other["item"]):
            raise StageError(f"{folder.name}: base and arm were asked different items")
        draws = np.random.default_rng(0).integers(0, len(one), (DRAWS, len(one)))
        read = figure or _mean
        (a, many_a), (b, many_b) = (read(part[column].to_numpy(), draws) for part in (one, other))
        low, high = np.nanquantile(many_b - many_a, [(1 - SURE) / 2, (1 + SURE) / 2])
        row = {"group": group, "label": " ".join(map(str, key)), "base": a, "arm": b}
        told.append(
            row | {"difference": b - a, "low": float(low), "high": float(high), "n": len(one)}
        )
    return told


def _mean(values: np.ndarray, draws: np.ndarray) -> tuple[float, np.ndarray]:
    values = values.astype(float)
    return float(np.nanmean(values)), np.nanmean(values[draws], axis=1)


def _miou(raw: np.ndarray, draws: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean IoU from each image's tp, fn and fp by class, over all images and over drawn ones."""
    counts = np.array([list(json.loads(text).values()) for text in raw], float)  # [N, C, 3]

    def of(total: np.ndarray) -> np.ndarray:
        whole = total.sum(-1)
        with np.errstate(invalid="ignore"):  # a class that is nowhere is left out
            return np.nanmean(np.where(whole > 0, total[..., 0] / whole, np.nan), axis=-1)

    times = np.stack([np.bincount(draw, minlength=len(counts)) for draw in draws]).astype(float)
    return float(of(counts.sum(0))), of(np.einsum("dn,nck->dck", times, counts))
