"""What most families share: a vision tower, a projector and a decoder under LLaVA's names."""

from pathlib import Path
from typing import Any

from steps.stage import StageError


def part(name: str) -> str:
    """Which of tower, projector and language a parameter belongs to, from its name."""
    if "vision_tower" in name:
        return "tower"
    return "projector" if "multi_modal_projector" in name else "language"


def tower(model: Any) -> Any:
    """The vision tower, a module."""
    return model.model.vision_tower


def projector(model: Any) -> Any:
    """What stands between tower and language model, a module."""
    return model.model.multi_modal_projector


def blocks(config: Any) -> int:
    """How many blocks the tower has."""
    return config.vision_config.num_hidden_layers


def last(config: Any) -> int:
    """The layer that a projector reads which reads the tower's end."""
    return -1


def nothing(config: Any) -> int:
    """Tokens before the patches of a tower that has no class token."""
    return 0


def patches(config: Any) -> int:
    """Patches of an image."""
    vision = config.vision_config
    return (vision.image_size // vision.patch_size) ** 2


def same(text: str | None) -> str | None:
    """A chat template that stays as it is."""
    return text


def begins(given: dict[str, Any]) -> bool:
    """Whether a pass has token ids and nothing stands in its cache."""
    past = given.get("past_key_values")
    return given.get("input_ids") is not None and (past is None or past.get_seq_length() == 0)


def states(tower: Any, pixels: Any) -> list[Any]:
    """Patch tokens [N, P, width] before the first block and behind each; the last is read.

    A tower whose config says `reads_norm` is read behind its last norm.
    """
    out = tower(pixel_values=pixels, output_hidden_states=True)
    found = list(out.hidden_states)
    if getattr(tower.config, "reads_norm", False):
        found[-1] = out.last_hidden_state
    return [state[:, tower.config.skip_tokens :] for state in found]


def inside(model: Any, pixels: Any) -> tuple[Any, Any]:
    """What the projector is given [N, P, width], and what the language model is [N, T, wide]."""
    import torch

    seen: list[Any] = []
    hook = projector(model).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        told = model.model.get_image_features(pixels).pooler_output
    finally:
        hook.remove()
    return seen[0], told if isinstance(told, torch.Tensor) else torch.stack(list(told))


def pillow(name: str, folder: Path | str) -> Any:
    """An image processor of a folder by its class in transformers, `module.Class`."""
    from importlib import import_module

    module, _, kind = name.rpartition(".")
    found = getattr(import_module(f"transformers.models.{module}"), kind)
    return found.from_pretrained(folder, local_files_only=True)


def sided(config: Any, images: Any) -> Any:
    """`images`, which has to resize to the tower's own size. Raises StageError where not."""
    side, size = config.vision_config.image_size, images.size
    if (size.get("height"), size.get("width")) != (side, side):
        raise StageError(
            f"preprocessor_config.json resizes images to {dict(size)}, but the vision tower reads "
            f"{side} x {side} pixels: set its size to these"
        )
    return images
