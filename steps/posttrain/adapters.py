"""Low-rank adapters (Hu et al. 2021, 2106.09685, equation 3) in the place of whole matrices.

    W x  ->  W x + (alpha / rank) B A x,  with A [rank, in], B [out, rank], B zero at first

Every linear layer of the trained parts has one, but the output layer; the projector, which is
small, is trained whole, as LLaVA's own recipe does it. At the end they are merged: an arm's model
is a model like any other.
"""

from collections.abc import Sequence
from typing import Any

from steps.posttrain.budget import part


def config(told: Any, model: Any, parts: Sequence[str]) -> Any:
    """PEFT's configuration for `train.lora` on some parts of a model; None where its rank is 0."""
    from torch.nn import Linear

    if not told.rank:
        return None
    from peft import LoraConfig

    head = model.get_output_embeddings()
    matrices = [
        name
        for name, module in model.named_modules()
        if isinstance(module, Linear)
        and module is not head
        and part(name) in parts
        and part(name) != "projector"
    ]
    return LoraConfig(
        r=told.rank,
        lora_alpha=told.alpha,
        lora_dropout=0.0,  # nothing in training is random but the sampling of answers
        bias="none",
        target_modules=matrices,
        modules_to_save=[_projector(model)] if "projector" in parts else None,
    )


def _projector(model: Any) -> str:
    """The name of the module that holds the whole projector and nothing else."""
    return min((name for name, _ in model.named_modules() if part(name) == "projector"), key=len)


def merged(model: Any) -> Any:
    """The model with its adapters added to its weights; one without adapters as it is."""
    from peft import PeftModel

    return model.merge_and_unload() if isinstance(model, PeftModel) else model
