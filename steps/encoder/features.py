"""One pass of each probe set through an encoder, cached: what every probe of the encoder reads.

Written are `<set>_<place>.npy`, float16, for the places `vit` (what the projector reads), `proj`
(what it makes of it) and `layer<k>` (a block further down): patch tokens [N, P, D] for segmentation
sets, their mean over the patches [N, D] for all others. Computed and averaged in float32, rounded
once, when stored.
"""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from steps.manifest import digest
from steps.stage import Missing, StageError

PLACES = {"vit": "", "proj": "proj/"}
"""Places and the prefix that each gives to the names of metrics and instruments; see `prefix`."""
SHARED = {"photos": ("photos_classify", "photos_segment")}
"""Sets that have their images in common, by the name that these are stored under."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Cache the features of `inputs['extract']` on the images of `inputs['probes']`.

    params.features: batch (images a forward pass), layers (blocks whose output is kept as well; 0
    is what the first block reads). Writes features.json: the encoder's hash, the layer, and the
    shape of each file. Returns `features/images`. Raises StageError for a layer that is not there.
    """
    import torch

    from steps.encoder import tower as towers
    from steps.models import load as models

    folder = Path(inputs["extract"])
    tower, projector, images = towers.load(folder)
    layers, blocks = params.features.layers, towers.count(tower)
    if not all(0 <= layer <= blocks for layer in layers):
        raise StageError(
            f"features.layers is {layers}: the tower in {folder} has the layers 0 to {blocks}"
        )
    device, seen = models.device(), models.reader(images)
    tower.to(device)
    if projector is not None:
        projector.to(device)

    def encode(batch: np.ndarray) -> dict[str, torch.Tensor]:
        states = towers.states(tower, seen(batch).to(device))
        behind = {} if projector is None else {"proj": projector(states[-1])}
        return {"vit": states[-1], **behind} | {f"layer{k}": states[k] for k in layers}

    sets = cache(Path(inputs["probes"]), encode, params.features.batch, out)
    facts = {
        "encoder": digest(folder / "model.safetensors"),
        "projector": projector and digest(folder / "projector.safetensors"),
        "layer": towers.reads(tower),
        "dtype": "float16",
        "sets": sets,
    }
    (out / "features.json").write_text(json.dumps(facts, indent=2) + "\n")
    return {"features/images": sum(s["images"] for s in sets.values())}


def cache(
    probes: Path, encode: Callable[[np.ndarray], dict[str, Any]], batch: int, out: Path
) -> dict[str, dict]:
    """Run every `*_images.npy` of a probes folder through `encode` and store what it gives.

    encode: images uint8 [B, H, W, 3] -> {place: float32 tensor [B, P, D]}. Returns, for each file
    of images, their number and {name of a file of features: shape}. Raises StageError if there is
    nothing to encode or if a feature does not fit float16.
    """
    import torch

    found = sorted(probes.glob("*_images.npy"))
    if not found:
        raise StageError(f"{probes} holds no *_images.npy: run the stage `probes` again")
    sets = {}
    for path in found:
        name = path.name.removesuffix("_images.npy")
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        if not len(images):
            raise StageError(f"{path} holds no images: raise its number in params.yaml's probes")
        files: dict[str, np.memmap] = {}
        for start in range(0, len(images), batch):
            with torch.no_grad():
                given = encode(np.array(images[start : start + batch]))
            for (place, tokens), one in product(given.items(), SHARED.get(name, (name,))):
                part = (tokens if "segment" in one else tokens.mean(1)).cpu().numpy()
                with np.errstate(over="ignore"):  # told below
                    part = part.astype(np.float16)
                if not np.isfinite(part).all():
                    raise StageError(
                        f"{place} features of {path.name} do not fit float16 (or are not finite): "
                        "look for a diverged training run"
                    )
                file = f"{one}_{place}.npy"
                if start == 0:
                    shape = (len(images), *part.shape[1:])
                    files[file] = np.lib.format.open_memmap(out / file, "w+", np.float16, shape)
                files[file][start : start + len(part)] = part
        for stored in files.values():
            stored.flush()
        shapes = {file: list(stored.shape) for file, stored in files.items()}
        sets[name] = {"images": len(images), "files": shapes}
    return sets


def places(folder: Path) -> list[str]:
    """The places at which a features folder holds features: `vit`, where kept `proj`, layers."""
    there = {path.stem.rpartition("_")[2] for path in Path(folder).glob("*.npy")}
    if not there:
        raise Missing(f"{folder} holds no features: run the stage `features` again")
    return [p for p in PLACES if p in there] + sorted(there - set(PLACES))


def prefix(place: str) -> str:
    """What a place puts before the names of metrics and instruments."""
    return PLACES.get(place, f"{place}/")


def load(folder: Path, name: str, place: str) -> np.ndarray:
    """The cached features of a probe set at a place: float16, memory-mapped, read-only."""
    path = Path(folder) / f"{name}_{place}.npy"
    if not path.is_file():
        raise Missing(f"{path} is missing: run the stage `features` again")
    return np.load(path, mmap_mode="r", allow_pickle=False)
