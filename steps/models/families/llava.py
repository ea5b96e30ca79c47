"""LLaVA: a CLIP, SigLIP or DINOv2 tower, two layers, any language model."""

from pathlib import Path
from typing import Any

from steps.models.families.alike import blocks, inside, part, projector, states, tower
from steps.models.families.alike import same as template

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
    """The image processor of a folder, by PIL."""
    from steps.models.load import images

    return images(folder)


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
