"""A trained model as a folder that differs from its base's in nothing but the weights."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steps import ranks
from steps.posttrain.budget import PARTS, part
from steps.track import log

WEIGHTS = (".safetensors", ".safetensors.index.json")


def begin(base: Path, parts: Sequence[str] = PARTS) -> tuple[Any, Any]:
    """The instruct-tuned base in `base`, with `parts` trainable, and its processor."""
    from steps.models import load

    model = load.vlm(base / "instruct")
    trainable(model, parts)
    # By these classes accelerate puts weights in shares; it refuses one that the model has none of.
    there = {type(module).__name__ for module in model.modules()}
    model._no_split_modules = sorted(there.intersection(model._no_split_modules or ()))
    return model.train(), load.processor(base / "instruct")


def trainable(model: Any, parts: Sequence[str]) -> None:
    """Let `parts` of a model be trained, but for what of its tower no projector reads.

    An optimiser has no state of weights without a gradient, and shares of weights cannot be gone on
    with where it lacks any.
    """
    from steps.models import families

    for name, weights in model.named_parameters():
        weights.requires_grad_(part(name) in parts)
    tower = dict(families.of(model).tower(model).named_parameters())
    for name in families.unread(model):
        tower[name].requires_grad_(False)


def model(trained: Any, base: Path, out: Path) -> None:
    """Write the weights of `trained` into `out`, and every other file as the base has it.

    Trainers touch configurations in passing (padding, tags, names); none of that is kept.
    """
    there = set(out.iterdir())
    trained.save_pretrained(out)
    for path in set(out.iterdir()) - there:
        if not path.name.endswith(WEIGHTS):
            path.unlink()
    for path in (base / "instruct").iterdir():
        if path.is_file() and not path.name.endswith(WEIGHTS):
            shutil.copyfile(path, out / path.name)


def finish(trainer: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Write the trained model to `out` and tell how far it moved, measured on what was written.

    Of several processes all call it, because each may hold a share of the weights; the first
    writes, and the others tell nothing.
    """
    from steps.models import load
    from steps.posttrain.dose import dose

    base = inputs["base"] / "instruct"
    trained = whole(trainer, base)
    if trained is None:
        return {}
    model(trained, inputs["base"], out)
    log.model(out)
    new, old = (load.vlm(folder).to(load.device()) for folder in (out, base))
    return dose(new, old, load.processor(base), inputs["items"])


def whole(trainer: Any, base: Path) -> Any:
    """What was trained as a model of one piece, adapters merged; None but in the first process.

    base: the folder of the model that it was, as which weights in shares are put together again.
    """
    from peft import PeftModel, get_peft_model

    from steps.models import load
    from steps.posttrain.adapters import merged

    trained = trainer.model
    if trainer.args.fsdp:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if ranks.main():
            model = load.vlm(base)
            if isinstance(trained, PeftModel):
                model = get_peft_model(model, trained.peft_config["default"])
            model.load_state_dict(weights)
            trained = model
    return merged(trained) if ranks.main() else None
