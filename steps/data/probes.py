"""The labelled images of one seed, on which frozen encoders are probed.

Four tiers, reported apart: what post-training asks about (shape, colour, count), what only
captions name (the ground), what no text ever names (texture), and real images from outside the
world (handwritten digits; cut-out photographs where they are installed; any folder of public data
that probes.images names). Classification labels are those of a scene's one large object.
Segmentation classes are shape and texture, never colour: a patch's mean colour would solve that
without any seeing. In a world of photographs category stands for shape and colour, and nothing for
texture; photographs on which probes are judged were never seen in any training.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.data import world as scenes_of
from steps.data.album import album, folders, text
from steps.data.digest import written
from steps.data.digits import digits
from steps.data.items import has_novel
from steps.data.language import GROUND_NAMES
from steps.data.paint import background, classes, render
from steps.data.photos import bank
from steps.data.readers import sets
from steps.data.speech import NUMBERS, of
from steps.data.sprites import TEXTURES
from steps.stage import StageError
from steps.track import log

DIGITS = {"pool": 300, "test": 400}
"""Handwritten digits used of each split, clean and noisy."""
PHOTO_SCENES = {"train": 300, "test": 150}
"""Scenes of photographs drawn for each split, where photographs are to be had."""
PHOTO_SIZES = {"large": (32, 40), "small": (16, 24)}
"""Least and most pixels, on a canvas of 64, of the longest side of the main one and the others."""


def run(params, inputs, out: Path) -> dict[str, float]:
    """Write the probe sets; returns how many images each holds.

    Where questions are one's own (params.data.source) nothing of the world is drawn: there are the
    sets of probes.images and no others, since no model there was asked about the world.
    """
    probes, world, seed = params.probes, params.world, params.run.seed
    rng = np.random.default_rng([seed, 77])
    used = _album(probes, inputs)
    counts: dict[str, int] = {}
    named: dict[str, Any] = {}
    drawn = params.data.source == "world"
    if drawn:
        counts = {
            "classify": _classify(probes, world, rng, out),
            "segment": _segment(probes, world, rng, out),
            "digits": _digits(world, rng, out),
        }
        named = {"classify": tiers(world), "segment": segments(world)}
    if drawn and used["folder"] and world.sprites != "photos":
        photos = bank(used["folder"])
        counts["photos"] = _photo_scenes(photos, world, rng, out)
        named["segment"]["photos"] = list(photos.classes)
    (out / "probes.json").write_text(json.dumps(named | {"photographs": used}, indent=1))
    metrics = {f"{name}/images": n for name, n in counts.items()}
    for one in probes.images:
        metrics |= sets.add(one, out)
    for name in [*counts, *(sets.stored(one) for one in probes.images)]:
        log.dataset(name, digest=written(out, name), context="probe")
    return metrics | {"photos/files": used["files"]}


def tiers(world) -> dict[str, list[str]]:
    """The labels of scenes by how far they are from the text that models were trained on."""
    if world.sprites == "photos":
        return {"asked": ["category", "count"], "captions": ["ground"]}
    return {
        "asked": ["shape", "color", "count"],
        "captions": ["ground"],
        "never_named": ["texture"],
    }


def segments(world) -> dict[str, list[str]]:
    """The kinds of segmentation maps of scenes, and the classes of each."""
    told = {of(world).mapped: list(of(world).maps)}
    return told if world.sprites == "photos" else told | {"texture": list(TEXTURES)}


def _classify(probes, world, rng, out: Path) -> int:
    """Scenes with one large object and up to two small ones."""
    few = world.model_copy(update={"objects": (1, 3)})
    parts = [
        scenes_of.sample(few, rng, probes.classify_train, "probe", main=True),
        scenes_of.sample(few, rng, probes.classify_test, "test", novel=True, main=True),
    ]
    s = scenes_of.join(parts)
    speech = of(world)
    labels = {
        speech.mapped: np.array(speech.maps)[s.shape[:, 0]],
        "color": np.array(speech.adjectives)[s.color[:, 0]],
        "count": np.array(NUMBERS)[(s.shape >= 0).sum(1)],
        "ground": np.array(GROUND_NAMES)[s.ground],
        "texture": np.array(TEXTURES)[s.texture[:, 0]],
    }
    told = {label: labels[label] for some in tiers(world).values() for label in some}
    split = np.repeat(["train", "test"], [len(p) for p in parts])
    table = pd.DataFrame({"split": split} | told | {"novel": has_novel(s)})
    table.to_parquet(out / "classify.parquet", index=False)
    np.save(out / "classify_images.npy", render(few, s)[0])
    return len(s)


def _segment(probes, world, rng, out: Path) -> int:
    """Scenes as the questions have them, with the class of every pixel; 0 is no object."""
    parts = [
        scenes_of.sample(world, rng, probes.segment_train, "probe"),
        scenes_of.sample(world, rng, probes.segment_test, "test", novel=True),
    ]
    s = scenes_of.join(parts)
    images, owner = render(world, s)
    for name in segments(world):
        attribute = s.texture if name == "texture" else s.shape
        np.save(out / f"segment_{name}.npy", classes(owner, attribute))
    np.save(out / "segment_images.npy", images)
    split = np.repeat(["train", "test"], [len(p) for p in parts])
    pd.DataFrame({"split": split, "novel": has_novel(s)}).to_parquet(
        out / "segment.parquet", index=False
    )
    return len(s)


def _noise(world):
    """The world's own grounds, as the readers of real images want them: (rng, n) to images."""
    return lambda rng, n: np.add(
        *background(
            world,
            rng.integers(0, len(GROUND_NAMES), n),
            rng.integers(0, 2**63, n, dtype=np.uint64),
        )
    )


def _digits(world, rng, out: Path) -> int:
    """Handwritten digits, clean and under the world's noise."""
    tables, images = [], []
    for noise in (None, _noise(world)):
        pictures, labels, split = _few(rng, *digits(rng, world.canvas, noise))
        tables.append(pd.DataFrame({"label": labels, "split": split, "noise": noise is not None}))
        images.append(pictures)
    pd.concat(tables, ignore_index=True).to_parquet(out / "digits.parquet", index=False)
    np.save(out / "digits_images.npy", np.concatenate(images))
    return sum(map(len, images))


def _few(rng, pictures, labels, split) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """A random part of the digits: as many as DIGITS says of each split."""
    parts = [np.flatnonzero(np.array(split) == name) for name in DIGITS]
    rows = np.concatenate(
        [rng.permutation(p)[:n] for p, n in zip(parts, DIGITS.values(), strict=True)]
    )
    return pictures[rows], np.asarray(labels)[rows], [split[i] for i in rows]


def _album(probes: Any, inputs: dict[str, Path]) -> dict[str, Any]:
    """The images from outside. Raises StageError if they are not those in the input `photos`."""
    used = album(probes.photos) | {"images": folders(probes.images)}
    if "photos" in inputs and inputs["photos"].read_text() != text(used):
        raise StageError(
            f"the images in {used['folder']} or in probes.images are not those that "
            f"{inputs['photos']} tells of: run the study again"
        )
    return used


def _photo_scenes(photos, world, rng, out: Path) -> int:
    """Scenes of photographs: the main one's category, and the category of every pixel.

    The images are stored once, for both. Photographs stand out of the ground as they are, and no
    letter covers them.
    """
    unit = world.canvas / 64
    sizes = {name: [round(unit * side) for side in sides] for name, sides in PHOTO_SIZES.items()}
    few = {"sprites": "photos", "objects": [1, 3], "letter_share": 0.0, "contrast": 1.0}
    shown = world.model_copy(update=few | sizes)
    counts = PHOTO_SCENES["train"], PHOTO_SCENES["test"]
    parts = [
        scenes_of.sample(shown, rng, count, split, main=True, bank=photos)
        for count, split in zip(counts, ("probe", "test"), strict=True)
    ]
    s = scenes_of.join(parts)
    images, owner = render(shown, s)
    split, main = np.repeat(["train", "test"], counts), s.photo[:, 0]
    names, categories = np.array(photos.names)[main], np.array(photos.categories)[main]
    table = pd.DataFrame({"split": split, "label": names, "category": categories})
    table.to_parquet(out / "photos_classify.parquet", index=False)
    table[["split"]].to_parquet(out / "photos_segment.parquet", index=False)
    np.save(out / "photos_images.npy", images)
    np.save(out / "photos_segment_category.npy", classes(owner, s.shape))
    return len(s)
