"""Qwen2.5-VL: a tower of its own with windows, a merger of 2 x 2 patches, a Qwen2.5.

Its image processor hands patches over in blocks of those that are merged, its tower keeps them in
the order of its windows; here they are read in reading order. Its language model counts positions
in three ways (time, row, column). Images of any size are possible: here all become one square.
"""

from math import isqrt
from pathlib import Path
from typing import Any

from steps.models.families.alike import begins, pillow
from steps.models.families.alike import last as layer
from steps.models.families.alike import nothing as skip
from steps.models.families.alike import same as template
from steps.stage import StageError

__all__ = ["layer", "skip", "template"]

CLASS = "Qwen2_5_VLForConditionalGeneration"
PACKS = False
LAST = False
RASTER = True

SIDE = 448
"""Pixels along the square that images become, as near as min_pixels and max_pixels allow."""


def part(name: str) -> str:
    """Which of tower, projector and language a parameter belongs to, from its name."""
    if "visual.merger" in name:
        return "projector"
    return "tower" if "visual." in name else "language"


def tower(model: Any) -> Any:
    """The vision tower, a module; it holds the merger too."""
    return model.model.visual


def projector(model: Any) -> Any:
    """The merger of patches, a module."""
    return model.model.visual.merger


def blocks(config: Any) -> int:
    """How many blocks the tower has."""
    return config.vision_config.depth


def given(model: Any, told: dict[str, Any]) -> dict[str, Any]:
    """What the model's forward takes; pixel values [N, P, D] are square images.

    Positions that count tokens are left to the model, which counts in its own way.
    """
    told = dict(told)
    positions, pixels = told.get("position_ids"), told.get("pixel_values")
    if positions is not None and positions.ndim == 2:
        if not begins(told):
            raise StageError("a Qwen2.5-VL goes on from no other positions than its own")
        told["position_ids"] = None
    if pixels is not None and pixels.ndim == 3:
        told |= {"pixel_values": pixels.flatten(0, 1), "image_grid_thw": _grid(pixels)}
    if told.get("mm_token_type_ids") is None and begins(told):
        told["mm_token_type_ids"] = (told["input_ids"] == model.config.image_token_id).long()
    if hasattr(model, "rope_deltas") and told.get("position_ids") is None:
        _goes_on(model, told)
    return told


def _goes_on(inner: Any, told: dict[str, Any]) -> None:
    """Positions of words behind a cache, which the class would give for the whole sequence.

    A pass that begins without an image leaves no shift of positions from an earlier one behind.
    """
    ids, mask = told.get("input_ids"), told.get("attention_mask")
    if begins(told):
        inner.rope_deltas = None
    elif inner.rope_deltas is not None and ids is not None and mask is not None:
        shift = inner.rope_deltas.to(ids.device)
        rows = shift.repeat_interleave(len(ids) // len(shift), 0)
        positions = (mask.cumsum(1) - 1)[:, -ids.shape[1] :] + rows
        told["position_ids"] = positions[None].expand(3, -1, -1)


def _grid(pixels: Any) -> Any:
    import torch

    side = isqrt(pixels.shape[1])
    if side * side != pixels.shape[1]:
        raise StageError(f"images have {pixels.shape[1]} patches, which make no square")
    return torch.tensor([[1, side, side]] * len(pixels), device=pixels.device)


def tokens(config: Any, images: Any) -> int:
    """Image tokens of an image: its patches, merged."""
    vision = config.vision_config
    return (images.side // (vision.patch_size * vision.spatial_merge_size)) ** 2


def images(config: Any, folder: Path | str) -> Any:
    """The image processor of a folder, by PIL; images [N] become patches [N, P, D]."""
    from PIL import Image

    from steps.models.families.processor import Fixed

    name = "qwen2_vl.image_processing_pil_qwen2_vl.Qwen2VLImageProcessorPil"
    found, vision = pillow(name, folder), config.vision_config
    least, most = found.size["shortest_edge"], found.size["longest_edge"]
    cell = vision.patch_size * vision.spatial_merge_size
    side = max(cell, isqrt(min(max(SIDE**2, least), most)) // cell * cell)
    found.size = {"shortest_edge": side**2, "longest_edge": side**2}

    def rows(made: Any) -> Any:
        return made["pixel_values"].unflatten(0, (len(made["image_grid_thw"]), -1))

    return Fixed(found, side, rows, Image.Resampling.BICUBIC)


def _blocked(count: int, merge: int) -> Any:
    """Where each patch, in blocks of those that are merged, stands in reading order [P]."""
    import torch

    side = isqrt(count)
    cells = torch.arange(count).view(side // merge, merge, side // merge, merge)
    return cells.transpose(1, 2).flatten()


def _reading(tower: Any, packed: Any, grid: Any) -> Any:
    """Patches [N * P, width] in the order of windows, as [N, P, width] in reading order."""
    import torch
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import get_vision_window_index

    config, count = tower.config, len(grid)
    merge = config.spatial_merge_size
    index, _ = get_vision_window_index(
        grid, spatial_merge_size=merge, window_size=config.window_size, patch_size=config.patch_size
    )
    groups = packed.unflatten(0, (-1, merge**2))[torch.argsort(index.to(packed.device))]
    found = groups.flatten(0, 1).unflatten(0, (count, -1))
    order = _blocked(found.shape[1], merge).to(packed.device)
    return found[:, torch.argsort(order)]


def states(tower: Any, pixels: Any) -> list[Any]:
    """Patch tokens [N, P, width] in reading order before the first block and behind each one."""
    grid, seen = _grid(pixels), []
    hooks = [
        block.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        for block in tower.blocks
    ]
    try:
        end = tower(pixels.flatten(0, 1), grid_thw=grid).last_hidden_state
    finally:
        for hook in hooks:
            hook.remove()
    return [_reading(tower, state, grid) for state in (*seen, end)]


def squares(pixels: Any, merge: int) -> Any:
    """Patches [N, P, D] as the tower takes them, in reading order."""
    import torch

    return pixels[:, torch.argsort(_blocked(pixels.shape[1], merge))]


def inside(model: Any, pixels: Any) -> tuple[Any, Any]:
    """What the merger is given [N, P, width] in reading order, and what it makes [N, T, wide]."""
    import torch

    grid, seen = _grid(pixels), []
    hook = projector(model).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        told = model.model.get_image_features(pixels.flatten(0, 1), grid).pooler_output
    finally:
        hook.remove()
    return _reading(tower(model), seen[0], grid), torch.stack(list(told))


def describe(model: Any) -> dict[str, Any]:
    """What `projector_config.json` says of a model's projector."""
    vision = model.config.vision_config
    return {
        "class": type(projector(model)).__name__,
        "reads": "last_hidden_state",
        "in": vision.hidden_size,
        "out": vision.out_hidden_size,
        "merge": vision.spatial_merge_size,
    }


def head(description: dict[str, Any]) -> Any:
    """A merger with random weights, from its `projector_config.json`; reads in reading order."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLPatchMerger

    class Merger(Qwen2_5_VLPatchMerger):
        def forward(self, x: Any) -> Any:
            order = _blocked(x.shape[1], description["merge"]).to(x.device)
            merged = super().forward(x[:, order].flatten(0, 1))
            return merged.unflatten(0, (len(x), -1))

    return Merger(description["out"], description["in"], description["merge"])
