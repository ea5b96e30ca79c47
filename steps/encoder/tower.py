"""The vision tower as the projector reads it: cut out of a VLM, opened again, read.

LLaVA's projector reads `hidden_states[vision_feature_layer]` of its tower, never the tower's
`last_hidden_state`: SigLIP and CLIP put `post_layernorm` behind it, which LLaVA leaves unread. No
configuration can drop that norm, so what an extracted folder promises is `hidden_states[-1]`: the
blocks above the one that is read are cut off, and the folder's config asks for hidden states, so
that `AutoModel.from_pretrained(folder)(pixels).hidden_states[-1]` is what the projector reads.
Other families read elsewhere (`steps.models.families`); `read` knows where.
"""

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from steps.models import families
from steps.stage import Missing, StageError

READ = "hidden_states[-1]"


def reads(tower: Any) -> str:
    """What of a tower's output is read, in Hugging Face's words."""
    end = getattr(tower.config, "reads_norm", False) or hasattr(tower.config, "depth")
    return "last_hidden_state" if end else READ


def depth(vlm: Any, layer: Any) -> int:
    """How many of the tower's blocks lie below a layer, counted as Hugging Face counts.

    -1 is the last block's output, -2 the one before. Raises StageError for a layer that the tower
    does not have and for models whose projector reads several.
    """
    blocks = families.of(vlm).blocks(vlm.config)
    if not isinstance(layer, int):
        raise StageError(
            f"vision_feature_layer is {layer}: towers read at several layers cannot be cut yet; "
            "give a model whose projector reads one layer"
        )
    kept = layer if layer >= 0 else blocks + 1 + layer
    if not 1 <= kept <= blocks:
        raise StageError(
            f"layer {layer} is not one of the tower's {blocks} blocks: set extract.layer "
            f"(and the model's vision_feature_layer) to {-blocks} to -1, or 1 to {blocks}"
        )
    return kept


def cut(vlm: Any, layer: int) -> Any:
    """A copy of the VLM's tower without the blocks above `layer` and without a pooling head.

    What stands before the patches is skipped: the class token, under LLaVA's strategy `default`.
    """
    family, kept = families.of(vlm), depth(vlm, layer)
    tower = trimmed(family.tower(vlm), kept, family.skip(vlm.config))
    tower.config.family = vlm.config.model_type
    tower.config.reads_norm = family.LAST and kept == family.blocks(vlm.config)
    return tower


def own(vlm: Any) -> Any:
    """The layer that a VLM's projector reads."""
    return families.of(vlm).layer(vlm.config)


def trimmed(whole: Any, blocks: int, skip: int) -> Any:
    """A copy of a tower's first `blocks` blocks, without a pooling head.

    Works for any tower whose config has `num_hidden_layers`, or `depth` for the same. skip: the
    number of tokens before the patches, which the config keeps as `skip_tokens`.
    """
    from transformers import AutoModel

    config = copy.deepcopy(whole.config)
    setattr(config, "depth" if hasattr(config, "depth") else "num_hidden_layers", blocks)
    if hasattr(config, "stage_names"):  # a class that names its blocks as well, such as DINOv2's
        named = ("stage_names", "out_features", "out_indices", "_out_features", "_out_indices")
        told = {name: value for name, value in config.to_dict().items() if name not in named}
        config = type(config).from_dict(told)
    config.output_hidden_states = True
    config.skip_tokens = skip
    if getattr(config, "vision_use_head", False):
        config.vision_use_head = False
    tower = AutoModel.from_config(config, attn_implementation=whole.config._attn_implementation)
    weights = whole.state_dict()
    tower.load_state_dict({name: weights[name] for name in tower.state_dict()})
    return tower.to(next(whole.parameters()).dtype).eval()


def count(tower: Any) -> int:
    """How many blocks a tower has."""
    return getattr(tower.config, "num_hidden_layers", None) or tower.config.depth


def read(tower: Any, pixels: Any) -> Any:
    """What the projector reads: patch tokens [N, P, width] of pixels [N, 3, H, W]."""
    return states(tower, pixels)[-1]


def states(tower: Any, pixels: Any) -> list[Any]:
    """Patch tokens [N, P, width] before the first block and behind each one; the last is read."""
    return families.FAMILIES[getattr(tower.config, "family", "llava")].states(tower, pixels)


def raw(tower: Any, pixels: Any) -> Any:
    """The pixels of each patch as a tower takes them, [N, P, D] in reading order."""
    import torch

    if pixels.ndim == 3:
        return families.qwen2_5_vl.squares(pixels, tower.config.spatial_merge_size)
    whole, side = pixels[:, 0] if pixels.ndim == 5 else pixels, tower.config.patch_size
    return torch.nn.functional.unfold(whole, side, stride=side).transpose(1, 2)


def describe(vlm: Any) -> dict[str, Any]:
    """What `projector_config.json` says of a VLM's projector."""
    return {"family": vlm.config.model_type, **families.of(vlm).describe(vlm)}


def projector(description: dict[str, Any]) -> Any:
    """A projector with random weights, from its `projector_config.json`."""
    return families.FAMILIES[description.get("family", "llava")].head(description)


def head(vlm: Any) -> Any:
    """A VLM's projector as a function of what it reads, patches [N, P, width] in reading order."""
    if vlm.config.model_type == "llava":
        return vlm.model.multi_modal_projector
    made = projector(describe(vlm)).to(vlm.device)
    made.load_state_dict(families.of(vlm).projector(vlm).state_dict())
    return made.eval()


def put(vlm: Any, folder: Path | str) -> None:
    """Write the tower, and where it is there the projector, of an extracted folder into a VLM.

    Raises StageError for a folder of another family or size. Blocks that were cut off stay.
    """
    family, (tower, head, _) = families.of(vlm), load(folder)
    told = getattr(tower.config, "family", "llava")
    parts = [(family.tower(vlm), tower)]
    if head is not None:
        parts.append((family.projector(vlm), head))
    for module, taken in parts:
        weights, there = taken.state_dict(), module.state_dict()
        odd = [n for n, w in weights.items() if n not in there or there[n].shape != w.shape]
        if told != vlm.config.model_type or odd:
            raise StageError(
                f"{folder} was extracted from a {told} and does not fit this "
                f"{vlm.config.model_type}{': ' + odd[0] if odd else ''}; give a folder extracted "
                "from such a model"
            )
        module.load_state_dict(weights, strict=False)


def load(folder: Path | str) -> tuple[Any, Any, Any]:
    """Open an extracted folder: (tower, projector or None, image processor), float32, eval mode.

    Raises Missing if the folder holds no tower.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel

    from steps.models.load import images

    folder = Path(folder)
    if not (folder / "model.safetensors").is_file():
        raise Missing(
            f"{folder} has no model.safetensors: give a folder that the stage `extract` wrote"
        )
    tower = AutoModel.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    head = None
    if (folder / "projector_config.json").is_file():
        head = projector(json.loads((folder / "projector_config.json").read_text()))
        head.load_state_dict(load_file(folder / "projector.safetensors"))
        head = head.float().eval()
    family = getattr(tower.config, "family", "llava")
    if family == "llava":
        return tower.eval(), head, images(folder)
    side = getattr(tower.config, "image_size", None)
    sizes = SimpleNamespace(vision_config=tower.config, image_grid_pinpoints=[[side, side]])
    return tower.eval(), head, families.FAMILIES[family].images(sizes, folder)
