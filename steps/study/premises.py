"""What params.yaml takes for granted outside itself: base models that are there and that fit.

Only configurations are read, as JSON: nothing heavy is imported.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steps import outside
from steps.data import album
from steps.data.own import ready
from steps.schema import Params, seeds_of

MODELS = Path("models")
WORDS = {"drawn": "circle", "photos": "category"}
"""A word that bases of one kind of world know and those of the other do not."""


@dataclass(frozen=True)
class Sizes:
    """What a base model's configuration says; None for what it does not say.

    canvas, patch: in pixels. blocks: of the vision tower. read: the tower's layer that the
    projector reads. layers: of the language model.
    """

    canvas: int | None = None
    patch: int | None = None
    blocks: int | None = None
    read: int | None = None
    layers: int | None = None


def missing(params: Params) -> Iterator[str]:
    """One sentence (key, value, what is allowed) for each thing that is not there or not fit."""
    if params.world.sprites == "photos" and not album.STAMPS.is_dir():
        yield (
            f"world.sprites = 'photos': there is no folder {album.STAMPS}; install Debian's "
            "tuxpaint-stamps-default"
        )
    yield from ready.missing(params.data)
    for name, base in params.bases.items():
        path = MODELS / name / "instruct" / "config.json"
        if base.source == "bundled" and not path.is_file():
            held = sorted(p.parents[1].name for p in MODELS.glob("*/instruct/config.json"))
            yield (
                f"bases.{name}.source = 'bundled': there is no {path}; bundled are "
                f"{', '.join(held) or 'none'}"
            )
            continue
        for key in ("tower", "language") if base.source == "joined" else ():
            folder = Path(getattr(base, key))
            if not (folder / "config.json").is_file():
                hint = "; make smollm makes it" if ".cache" in folder.parts else ""
                yield f"bases.{name}.{key} = {str(folder)!r}: there is no config.json in it{hint}"
        yield from _unfit(params, name, _sizes(params, name))
        yield from _wordless(params, name)
    for arm, spec in params.arms.items():
        if spec.method == "checkpoint":
            yield from _weights(params, arm)
    if "reuse" in params.instruments:
        for name, path in params.reuse.encoders.items():
            yield from _encoder(params, f"reuse.encoders.{name} = {path!r}", Path(path))


def _weights(params: Params, arm: str) -> Iterator[str]:
    """What keeps an arm from having weights from elsewhere, as far as names tell."""
    told = params.arms[arm].overrides
    for seed in seeds_of(params, arm):
        path, revision = outside.place(told["path"], seed), told.get("revision")
        if Path(path).is_dir():
            if revision is not None:
                yield f"arms.{arm}.revision = {revision!r}: {path} is a folder, leave it out"
                return
        elif not outside.HUB.fullmatch(path):
            yield (
                f"arms.{arm}.path = {told['path']!r}: there is no folder {path}; give one, or a "
                "name on the hub (owner/name)"
            )
            return


def _encoder(params: Params, key: str, folder: Path) -> Iterator[str]:
    """What keeps a folder from being an encoder that can be re-used, after the key's name."""
    try:
        told = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        told = {}
    if told.get("model_type") != "siglip_vision_model" or not list(folder.glob("*.safetensors")):
        yield f"{key}: give a folder in which a SiglipVisionModel was saved"
    elif told.get("image_size", 224) != params.world.canvas:
        yield (
            f"{key}: it reads images of {told.get('image_size', 224)} pixels, and world.canvas = "
            f"{params.world.canvas}: give one that reads those"
        )


def _sizes(params: Params, name: str) -> Sizes:
    base, sizes = params.bases[name], params.recipe.model
    if base.source == "train":
        world = params.world
        return Sizes(world.canvas, world.patch, sizes.tower_layers, -1, sizes.layers)
    folder = MODELS / name / "instruct" if base.source == "bundled" else Path(base.path or "")
    try:
        told = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):  # on the hub, or damaged: the stage that reads it will say
        return Sizes()
    vision, text = told.get("vision_config", {}), told.get("text_config", {})
    pixels = base.source == "bundled"  # a hub model's own processor scales images to its size
    return Sizes(
        vision.get("image_size") if pixels else None,
        vision.get("patch_size") if pixels else None,
        vision.get("num_hidden_layers", vision.get("depth")),
        told.get("vision_feature_layer"),
        text.get("num_hidden_layers"),
    )


def _unfit(params: Params, name: str, sizes: Sizes) -> Iterator[str]:
    world, extract, diff = params.world, params.extract, params.diff
    for key, wanted in (("canvas", sizes.canvas), ("patch", sizes.patch)):
        value = getattr(world, key)
        if wanted not in (None, value):
            yield f"world.{key} = {value}: base {name} was made for {wanted}, give that"
    if (blocks := sizes.blocks) is not None:
        if not 1 <= _depth(extract.layer, blocks) <= blocks:
            yield (
                f"extract.layer = {extract.layer}: the tower of base {name} has {blocks} blocks, "
                f"give -{blocks} to -1 or 1 to {blocks}"
            )
        elif isinstance(sizes.read, int) and (extract.projector or "forget" in params.instruments):
            if _depth(extract.layer, blocks) != _depth(sizes.read, blocks):
                yield (
                    f"extract.layer = {extract.layer}: the projector of base {name} reads layer "
                    f"{sizes.read}, give that, or set extract.projector to false and leave out "
                    "forget"
                )
    if params.bases[name].source == "hub" or sizes.layers is None:
        return  # models from the hub are not diffed
    for layer in diff.layers:
        if layer >= sizes.layers:
            yield (
                f"diff.layers = {diff.layers}: the language model of base {name} has layers 0 to "
                f"{sizes.layers - 1}, give some of them"
            )


def _wordless(params: Params, name: str) -> Iterator[str]:
    """A bundled base that was made for the other kind of world, by the words that it knows."""
    if params.bases[name].source != "bundled":
        return
    try:
        told = json.loads((MODELS / name / "instruct" / "tokenizer.json").read_text())
        known = set(told["model"]["vocab"])
    except (OSError, ValueError, KeyError):  # the stage that reads it will say
        return
    if (word := WORDS[params.world.sprites]) not in known:
        yield (
            f"world.sprites = {params.world.sprites!r}: base {name} was made for another world, "
            f"it does not know the word {word!r}; give a base that does"
        )


def _depth(layer: int, blocks: int) -> int:
    """How many blocks lie below a layer, counted as Hugging Face counts; as in encoder/tower.py."""
    return layer if layer >= 0 else blocks + 1 + layer
