"""The vision tower as the projector reads it: cut out of a VLM, opened again, read.

A projector reads `hidden_states[vision_feature_layer]` of its tower, which is never the tower's
`last_hidden_state`: SigLIP and CLIP put `post_layernorm` behind it, which LLaVA leaves unread. No
configuration can drop that norm, so what an extracted folder promises is `hidden_states[-1]`: the
blocks above the one that is read are cut off, and the folder's config asks for hidden states, so
that `AutoModel.from_pretrained(folder)(pixels).hidden_states[-1]` is what the projector reads.
"""

import copy
import json
from pathlib import Path
from typing import Any

from steps.stage import Missing, StageError

READ = "hidden_states[-1]"


def depth(vlm: Any, layer: Any) -> int:
    """How many of the tower's blocks lie below a layer, counted as Hugging Face counts.

    -1 is the last block's output, -2 the one before. Raises StageError for a layer that the tower
    does not have and for models whose projector reads several.
    """
    blocks = vlm.config.vision_config.num_hidden_layers
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
    skip = int(vlm.config.vision_feature_select_strategy == "default")
    return trimmed(vlm.model.vision_tower, depth(vlm, layer), skip)


def trimmed(whole: Any, blocks: int, skip: int) -> Any:
    """A copy of a tower's first `blocks` blocks, without a pooling head.

    Works for any tower whose config has `num_hidden_layers`. skip: the number of tokens before the
    patches, which the config keeps as `skip_tokens`.
    """
    from transformers import AutoModel

    config = copy.deepcopy(whole.config)
    config.num_hidden_layers = blocks
    config.output_hidden_states = True
    config.skip_tokens = skip
    if getattr(config, "vision_use_head", False):
        config.vision_use_head = False
    tower = AutoModel.from_config(config, attn_implementation=whole.config._attn_implementation)
    weights = whole.state_dict()
    tower.load_state_dict({name: weights[name] for name in tower.state_dict()})
    return tower.to(next(whole.parameters()).dtype).eval()


def read(tower: Any, pixels: Any) -> Any:
    """What the projector reads: patch tokens [N, P, width] of pixels [N, 3, H, W]."""
    return states(tower, pixels)[-1]


def states(tower: Any, pixels: Any) -> list[Any]:
    """Patch tokens [N, P, width] before the first block and behind each one; the last is read."""
    found = tower(pixel_values=pixels, output_hidden_states=True).hidden_states
    return [state[:, tower.config.skip_tokens :] for state in found]


def describe(vlm: Any) -> dict[str, Any]:
    """What `projector_config.json` says of a VLM's projector."""
    head = vlm.model.multi_modal_projector
    return {
        "class": type(head).__name__,
        "reads": READ,
        "in": head.linear_1.in_features,
        "out": head.linear_2.out_features,
        "activation": vlm.config.projector_hidden_act,
        "bias": head.linear_1.bias is not None,
    }


def projector(description: dict[str, Any]) -> Any:
    """LLaVA's two-layer projector with random weights, from its `projector_config.json`."""
    from torch import nn
    from transformers.activations import ACT2FN

    wide, narrow, bias = description["out"], description["in"], description["bias"]
    layers = nn.Sequential()
    layers.add_module("linear_1", nn.Linear(narrow, wide, bias=bias))
    layers.add_module("act", ACT2FN[description["activation"]])
    layers.add_module("linear_2", nn.Linear(wide, wide, bias=bias))
    return layers


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
    return tower.eval(), head, images(folder)
