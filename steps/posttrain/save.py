"""A trained model as a folder that differs from its base's in nothing but the weights."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steps.posttrain.budget import PARTS, part
from steps.track import log

WEIGHTS = (".safetensors", ".safetensors.index.json")


def begin(base: Path, parts: Sequence[str] = PARTS) -> tuple[Any, Any]:
    """The instruct-tuned base in `base`, with `parts` trainable, and its processor."""
    from steps.models import load

    model = load.vlm(base / "instruct")
    for name, weights in model.named_parameters():
        weights.requires_grad_(part(name) in parts)
    return model.train(), load.processor(base / "instruct")


def model(trained: Any, base: Path, out: Path) -> None:
    """Write the weights of `trained` into `out`, and every other file as the base has it.

    Trainers touch configurations in passing (padding, tags, names); none of that is kept.
    """
    trained.save_pretrained(out)
    for path in out.iterdir():
        if not path.name.endswith(WEIGHTS):
            path.unlink()
    for path in (base / "instruct").iterdir():
        if path.is_file() and not path.name.endswith(WEIGHTS):
            shutil.copyfile(path, out / path.name)


def finish(trained: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Write the model to `out` and tell how far it moved, measured on what was written."""
    from steps.models import load
    from steps.posttrain.dose import dose

    model(trained, inputs["base"], out)
    log.model(out)
    base = inputs["base"] / "instruct"
    new, old = (load.vlm(folder).to(load.device()) for folder in (out, base))
    return dose(new, old, load.processor(base), inputs["items"])
