"""PaliGemma: a SigLIP tower read behind its last norm, one linear layer, a Gemma.

It sees an image and a question as a whole, in both directions, and its answer word by word. The
question ends with the first line break, as PaliGemma's own processor writes it.
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
from steps.models.families.alike import patches as _patches

__all__ = ["blocks", "inside", "layer", "part", "projector", "skip", "states", "tower"]

CLASS = "PaliGemmaForConditionalGeneration"
PACKS = False
LAST = True
RASTER = True

TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% if m['content'] is string %}{{ bos_token + m['content'] }}{% else %}"
    "{% for c in m['content'] if c['type'] == 'image' %}<image>{% endfor %}{{ bos_token }}"
    "{% for c in m['content'] if c['type'] == 'text' %}{{ c['text'] }}{% endfor %}{% endif %}"
    "{{ '\\n' }}{% else %}{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endif %}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
"""The layout of PaliGemma's processor, whose folders have no chat template."""


def template(text: str | None) -> str | None:
    """The folder's chat template, or the model's own layout."""
    return text or TEMPLATE


def given(model: Any, told: dict[str, Any]) -> dict[str, Any]:
    """What the model's forward takes: a token's type is 0 up to the question's end, then 1."""
    if told.get("token_type_ids") is not None or not begins(told):
        return told
    ends = told["input_ids"] == model.config.question_end_id
    return told | {"token_type_ids": ((ends.cumsum(1) - ends.long()) > 0).long()}


def tokens(config: Any, images: Any) -> int:
    """Image tokens of an image: its patches."""
    return _patches(config)


def images(config: Any, folder: Path | str) -> Any:
    """The image processor of a folder, by PIL."""
    found = pillow("siglip.image_processing_pil_siglip.SiglipImageProcessorPil", folder)
    return sided(config, found)


def describe(model: Any) -> dict[str, Any]:
    """What `projector_config.json` says of a model's projector."""
    line = projector(model).linear
    told = {"class": type(projector(model)).__name__, "reads": "last_hidden_state"}
    return told | {"in": line.in_features, "out": line.out_features}


def head(description: dict[str, Any]) -> Any:
    """A projector with random weights, from its `projector_config.json`."""
    from torch import nn

    layers = nn.Sequential()
    layers.add_module("linear", nn.Linear(description["in"], description["out"]))
    return layers
