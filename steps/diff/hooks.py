"""Residual activations by plain forward hooks: what a decoder layer puts out, and nothing else."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from steps.stage import StageError


def decoder_layers(model: Any) -> Any:
    """The language model's layers, a ModuleList, of a Hugging Face VLM or language model."""
    return model.get_decoder().layers


@contextmanager
def capture(model: Any, layers: Iterable[int]) -> Iterator[dict[int, Tensor]]:
    """While open, each forward pass of `model` leaves the outputs of `layers` in the dict given.

    Each is the residual stream [batch, tokens, d] behind that layer (counted from 0), detached, as
    the layer put it out. Raises StageError for a layer that the model does not have.

        with capture(model, [2]) as seen:
            model(**batch)
        seen[2]
    """
    stack = decoder_layers(model)
    seen: dict[int, Tensor] = {}
    handles = []

    def keep(layer: int) -> Any:
        def hook(module: Any, args: Any, output: Any) -> None:
            # a tensor in transformers 5, a tuple that starts with it in some older model classes:
            # output[0] of a tensor would silently be the batch's first item
            seen[layer] = (output if isinstance(output, Tensor) else output[0]).detach()

        return hook

    try:
        for layer in layers:
            _check(stack, layer)
            handles.append(stack[layer].register_forward_hook(keep(layer)))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def stop_after(model: Any, layer: int) -> None:
    """Take the layers behind `layer` off the language model: what is before gives the same."""
    stack = decoder_layers(model)
    _check(stack, layer)
    del stack[layer + 1 :]


def _check(stack: Any, layer: int) -> None:
    if not 0 <= layer < len(stack):
        raise StageError(
            f"diff.layer = {layer}: the language model has layers 0 to {len(stack) - 1}"
        )
