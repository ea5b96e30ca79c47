"""Gemma 3: a SigLIP tower read behind its last norm, cells averaged and projected, a Gemma.

The tokens of an image see each other in both directions, and most layers of the language model see
no further back than a window.
"""

from pathlib import Path
from typing import Any

from steps.models.families.alike import (
    begins,
    blocks,
    inside,
    part,
    pillow,
    projector,
    sided,
    states,
    tower,
)
from steps.models.families.alike import last as layer
from steps.models.families.alike import nothing as skip

__all__ = ["blocks", "inside", "layer", "part", "projector", "skip", "states", "tower"]

CLASS = "Gemma3ForConditionalGeneration"
PACKS = False
LAST = True
RASTER = True

MARK = "<start_of_image>"
AROUND = "\n\n<start_of_image><image_soft_token><end_of_image>\n\n"
"""What Gemma 3's processor makes of the mark, but for the number of image tokens."""


def template(text: str | None) -> str | None:
    """A chat template that writes an image as its token between marks."""
    if text is None or AROUND in text:
        return text
    return text.replace(MARK, AROUND)


def given(model: Any, told: dict[str, Any]) -> dict[str, Any]:
    """What the model's forward takes: a token's type is 1 where it is an image's."""
    if told.get("token_type_ids") is not None or not begins(told):
        return told
    return told | {"token_type_ids": (told["input_ids"] == model.config.image_token_id).long()}


def tokens(config: Any, images: Any) -> int:
    """Image tokens of an image."""
    return config.mm_tokens_per_image


def images(config: Any, folder: Path | str) -> Any:
    """The image processor of a folder, by PIL; without cutting images that are long or wide."""
    found = pillow("gemma3.image_processing_pil_gemma3.Gemma3ImageProcessorPil", folder)
    found.do_pan_and_scan = False
    return sided(config, found)


def describe(model: Any) -> dict[str, Any]:
    """What `projector_config.json` says of a model's projector."""
    config, weights = model.config, projector(model).mm_input_projection_weight
    return {
        "class": type(projector(model)).__name__,
        "reads": "last_hidden_state",
        "in": weights.shape[0],
        "out": weights.shape[1],
        "image_size": config.vision_config.image_size,
        "patch_size": config.vision_config.patch_size,
        "layer_norm_eps": config.vision_config.layer_norm_eps,
        "tokens": config.mm_tokens_per_image,
    }


def head(description: dict[str, Any]) -> Any:
    """A projector with random weights, from its `projector_config.json`."""
    from transformers import Gemma3Config
    from transformers.models.gemma3.modeling_gemma3 import Gemma3MultiModalProjector

    sizes = {name: description[name] for name in ("image_size", "patch_size", "layer_norm_eps")}
    config = Gemma3Config(
        vision_config={"hidden_size": description["in"], **sizes},
        text_config={"hidden_size": description["out"]},
        mm_tokens_per_image=description["tokens"],
    )
    return Gemma3MultiModalProjector(config)
