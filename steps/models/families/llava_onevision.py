"""LLaVA-OneVision: a LLaVA that reads an image whole and once more in tiles.

Here every image is resized to one tile, so that each is the whole image and one tile of it, and
after each row of the latter's tokens a learned mark. What the projector reads of an image is what
it reads of the whole.
"""

from pathlib import Path
from typing import Any

from steps.models.families.alike import (
    blocks,
    patches,
    pillow,
    projector,
    tower,
)
from steps.models.families.alike import same as template
from steps.models.families.alike import states as _states
from steps.models.families.llava import describe, head, layer, skip
from steps.stage import StageError

__all__ = ["blocks", "describe", "head", "layer", "projector", "skip", "template", "tower"]

CLASS = "LlavaOnevisionForConditionalGeneration"
PACKS = True
LAST = False
RASTER = False


def part(name: str) -> str:
    """Which of tower, projector and language a parameter is of; the mark is the projector's."""
    if "vision_tower" in name:
        return "tower"
    between = "multi_modal_projector" in name or "image_newline" in name
    return "projector" if between else "language"


def given(model: Any, told: dict[str, Any]) -> dict[str, Any]:
    """What the model's forward takes; pixel values are [N, 2, 3, H, W]."""
    pixels = told.get("pixel_values")
    if pixels is None or told.get("image_sizes") is not None:
        return told
    return told | {"image_sizes": _sizes(pixels)}


def _sizes(pixels: Any) -> Any:
    import torch

    return torch.tensor([pixels.shape[-2:]] * len(pixels), device=pixels.device)


def tokens(config: Any, images: Any) -> int:
    """Image tokens of an image: the whole, a tile, and a mark after each row of this."""
    each = patches(config)
    return 2 * each + int(each**0.5)


def images(config: Any, folder: Path | str) -> Any:
    """The image processor of a folder, by PIL; images [N] become [N, 2, 3, H, W]."""
    from PIL import Image

    side = config.vision_config.image_size
    if [side, side] not in [list(pair) for pair in config.image_grid_pinpoints]:
        raise StageError(
            f"image_grid_pinpoints of {folder} has no [{side}, {side}], the tower's own size: "
            "add it to config.json and preprocessor_config.json"
        )
    found = pillow(
        "llava_onevision.image_processing_pil_llava_onevision.LlavaOnevisionImageProcessorPil",
        folder,
    )
    from steps.models.families.processor import Fixed

    return Fixed(found, side, lambda made: made["pixel_values"], Image.Resampling.BICUBIC)


def states(tower: Any, pixels: Any) -> list[Any]:
    """Patch tokens [N, P, width] of the whole images before the first block and behind each."""
    return _states(tower, pixels[:, 0])


def inside(model: Any, pixels: Any) -> tuple[Any, Any]:
    """What the projector is given of whole images [N, P, width], and what it makes of it."""
    seen: list[Any] = []
    hook = projector(model).register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    try:
        model.model.get_image_features(pixels, image_sizes=_sizes(pixels))
    finally:
        hook.remove()
    return seen[0][0][::2], seen[0][1][::2]
