"""LLaVA: a CLIP, SigLIP or DINOv2 tower, two layers, any language model."""

import json
from pathlib import Path
from typing import Any

from steps.models.families.alike import blocks, inside, part, projector, states, tower
from steps.models.families.alike import same as template
from steps.stage import Missing

__all__ = ["blocks", "inside", "part", "projector", "states", "template", "tower"]

CLASS = "LlavaForConditionalGeneration"
PACKS = True
LAST = False
RASTER = True


def layer(config: Any) -> Any:
    """The layer that the projector reads, counted as Hugging Face counts."""
    return config.vision_feature_layer


def skip(config: Any) -> int:
    """Tokens before the patches: the class token, which the strategy `default` leaves out."""
    return int(config.vision_feature_select_strategy == "default")


def given(model: Any, told: dict[str, Any]) -> dict[str, Any]:
    """What the model's forward takes; told: what a caller has given."""
    return told


def tokens(config: Any, images: Any) -> int:
    """Image tokens of an image."""
    return config.image_seq_length


def images(config: Any, folder: Path | str) -> Any:
    """The image processor of a folder, of whichever class, by PIL."""
    from transformers import AutoImageProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    if _kind(Path(folder)).startswith("SiglipImageProcessor"):
        return SiglipImageProcessorPil.from_pretrained(folder, local_files_only=True)
    return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)


def _kind(folder: Path) -> str:
    """The class of a folder's image processor, by the file that holds its settings."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            told = json.loads((folder / name).read_text())
            told = told.get("image_processor", told)
            if "image_processor_type" in told:
                return told["image_processor_type"]
    raise Missing(
        f"{folder} has no image processor: its processor_config.json names none. Give a folder "
        "that `save_pretrained` of model and processor wrote."
    )


def describe(model: Any) -> dict[str, Any]:
    """What `projector_config.json` says of a model's projector."""
    head = projector(model)
    return {
        "class": type(head).__name__,
        "reads": "hidden_states[-1]",
        "in": head.linear_1.in_features,
        "out": head.linear_2.out_features,
        "activation": model.config.projector_hidden_act,
        "bias": head.linear_1.bias is not None,
    }


def head(description: dict[str, Any]) -> Any:
    """A two-layer projector with random weights, from its `projector_config.json`."""
    from torch import nn
    from transformers.activations import ACT2FN

    wide, narrow, bias = description["out"], description["in"], description["bias"]
    layers = nn.Sequential()
    layers.add_module("linear_1", nn.Linear(narrow, wide, bias=bias))
    layers.add_module("act", ACT2FN[description["activation"]])
    layers.add_module("linear_2", nn.Linear(wide, wide, bias=bias))
    return layers
