"""Take the vision tower and the projector out of a VLM, as a folder that AutoModel opens.

The stage checks its own promise: on a few images, the tower and the projector read back from the
folder give, bit for bit, what they give inside the VLM.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from steps.models import families
from steps.stage import StageError

CHECKED = 4
"""Images on which features inside the VLM and from the folder are compared."""

CARD = """---
library_name: transformers
pipeline_tag: image-feature-extraction
license: apache-2.0
---
# Vision tower of {source}

Cut at layer {layer} of {blocks} blocks: {kept} are kept. {place}
{how}
{projector}`steps.encoder.tower.load(folder)` opens what is here.

| | |
| --- | --- |
| taken from | {source} |
| weights of the VLM (sha256) | `{digest}` |
| parameters kept | {parameters} |
| reached by the language model's gradient | {reached} |
| carried, but never reached by it | {unreached} |
| left out | {dropped} |
| inside the VLM and from this folder | equal bit for bit on {checked} images |

A part that the gradient reaches was trained only if the arm trained it: see the model's own card.
"""


LLAVA = """**Read `hidden_states[-1]`.** `last_hidden_state` has passed `post_layernorm`, which no
LLaVA reads; its weights are carried along because the class has no form without it. To use the
tower in a new LLaVA, set `vision_feature_layer=-1`.

    tower = AutoModel.from_pretrained(folder)
    images = AutoImageProcessor.from_pretrained(folder)
    features = tower(**images(picture, return_tensors="pt")).hidden_states[-1]{skip}
"""
OTHER = """**Read it with `steps.encoder.tower.read`**, which gives what the projector of a {family}
reads, `{reads}`, as patches in reading order.

    tower, projector, images = steps.encoder.tower.load(folder)
    features = steps.encoder.tower.read(tower, images(picture, return_tensors="pt")["pixel_values"])
"""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Write tower, projector, image processor and card of `inputs['model']` to `out`.

    params.extract: layer (counted as Hugging Face counts), projector (whether it goes along; then
    `layer` must be the one that it reads, or StageError). Returns `extract/...`: parameters,
    blocks kept and dropped, patches, and the largest difference found (0.0, or the stage raises
    RuntimeError).
    """
    import torch
    from safetensors.torch import save_file

    from steps.encoder import tower as towers
    from steps.models import load

    folder, layer = Path(inputs["model"]), params.extract.layer
    vlm, images = load.vlm(folder), load.processor(folder).image_processor
    device, own = load.device(), towers.own(vlm)
    read = towers.depth(vlm, layer) == towers.depth(vlm, own)
    if params.extract.projector and not read:
        raise StageError(
            f"extract.layer is {layer}, but the projector of {folder} reads layer {own}: "
            f"set extract.layer to {own}, or extract.projector to false"
        )
    tower = towers.cut(vlm, layer)
    tower.save_pretrained(out)
    images.save_pretrained(out)
    if params.extract.projector:
        weights = families.of(vlm).projector(vlm).state_dict()
        save_file(weights, out / "projector.safetensors", metadata={"format": "pt"})
        text = json.dumps(towers.describe(vlm), indent=2) + "\n"
        (out / "projector_config.json").write_text(text)

    side = getattr(vlm.config.vision_config, "image_size", 224)  # or resized
    dice = torch.Generator().manual_seed(params.run.seed or 0)
    noise = torch.randint(0, 256, (CHECKED, side, side, 3), generator=dice).byte()
    pixels = images(list(noise.numpy()), return_tensors="pt")["pixel_values"].to(device)
    vlm.to(device)
    tokens = compare(vlm, out, pixels, layer)
    (out / "README.md").write_text(_card(params, vlm, tower, pixels, read, folder))
    kept, blocks = towers.count(tower), families.of(vlm).blocks(vlm.config)
    return {
        "extract/parameters": sum(p.numel() for p in tower.parameters()),
        "extract/blocks": kept,
        "extract/blocks_dropped": blocks - kept,
        "extract/patches": tokens.shape[1],
        "extract/max_difference": 0.0,
    }


def compare(vlm: Any, folder: Path, pixels: Any, layer: int) -> Any:
    """Check that the folder's features equal those inside the VLM; return them [N, P, width].

    Compared are the tower's tokens (at the projector's layer: what the projector is really given)
    and what the projector makes of them. Raises RuntimeError at any difference.
    """
    import torch

    from steps.encoder import tower as towers

    family = families.of(vlm)
    with torch.no_grad():
        tower, copy, _ = towers.load(folder)
        tower.to(pixels.device)
        if copy is not None:
            copy.to(pixels.device)
        outside = towers.read(tower, pixels)
        given, projected = family.inside(vlm, pixels)
        if copy is None:
            whole = towers.cut(vlm, family.blocks(vlm.config)).to(pixels.device)
            pairs = {"tower": (towers.states(whole, pixels)[towers.depth(vlm, layer)], outside)}
        else:
            pairs = {"tower": (given, outside), "projector": (projected, copy(outside))}
    for name, (a, b) in pairs.items():
        if a.shape != b.shape or not torch.equal(a, b):
            gap = (a - b).abs().max().item() if a.shape == b.shape else "shapes differ"
            raise RuntimeError(
                f"{name}: features from the extracted folder differ from those inside the model "
                f"(largest gap {gap}); the tower was not cut where the projector reads"
            )
    return outside


def gradient(vlm: Any, pixels: Any) -> tuple[list[str], list[str]]:
    """What a gradient at the projected features reaches, found by one backward pass.

    Returns the names of the tower's and projector's parameters that it reaches, and of the others.
    """
    vlm.zero_grad()
    families.of(vlm).inside(vlm, pixels)[1].square().sum().backward()
    seen = {
        name: p.grad is not None
        for name, p in vlm.model.named_parameters()
        if families.part(name) != "language"
    }
    vlm.zero_grad()
    return [n for n, hit in seen.items() if hit], [n for n, hit in seen.items() if not hit]


def _card(params: Any, vlm: Any, tower: Any, pixels: Any, read: bool, folder: Path) -> str:
    from steps.encoder.tower import count, reads

    how = LLAVA if vlm.config.model_type == "llava" else OTHER
    reached, unreached = gradient(vlm, pixels[:1])
    kept = {f"{_before(vlm)}{name}" for name, _ in tower.named_parameters()}
    if params.extract.projector:
        kept |= {n for n in reached if families.part(n) == "projector"}
    whole = [n for n, _ in vlm.model.named_parameters() if families.part(n) == "tower"]
    run, skip = params.run, tower.config.skip_tokens
    return CARD.format(
        source="/".join(str(x) for x in (run.study, run.base, run.arm, f"seed{run.seed}")),
        layer=params.extract.layer,
        blocks=families.of(vlm).blocks(vlm.config),
        kept=count(tower),
        place="That is where the projector reads." if read else "The projector reads elsewhere.",
        how=how.format(
            skip=f"[:, {skip}:]" if skip else "", family=vlm.config.model_type, reads=reads(tower)
        ),
        projector="`projector.safetensors` and `projector_config.json` hold the projector.\n"
        if params.extract.projector
        else "",
        digest=_digest(folder),
        parameters=f"{sum(p.numel() for p in tower.parameters()):,}",
        reached=_parts(n for n in reached if n in kept),
        unreached=_parts(n for n in unreached if n in kept),
        dropped=_parts(n for n in whole if n not in kept),
        checked=len(pixels),
    )


def _before(vlm: Any) -> str:
    """What the names of the tower's parameters begin with."""
    whole = families.of(vlm).tower(vlm)
    return next(f"{name}." for name, part in vlm.model.named_modules() if part is whole)


def _parts(names: Iterable[str]) -> str:
    """Parameter names folded to parts: `embeddings`, `encoder.layers.0`, the projector's name."""
    parts = []
    for name in names:
        words = name.removeprefix("vision_tower.").removeprefix("visual.").split(".")
        part = ".".join(words[: {"encoder": 3, "blocks": 2}.get(words[0], 1)])
        if part not in parts:
            parts.append(part)
    return ", ".join(f"`{part}`" for part in parts) or "nothing"


def _digest(folder: Path) -> str:
    """sha256 over the folder's weight files, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
