"""What goes on inside a language model, read and replaced by plain forward hooks.

A site is `<kind>.<layer>`, layers counted from 0:

    residual.2    output of decoder layer 2, the residual stream       [batch, tokens, d]
    heads.2       input of its attention's output projection: results
                  of all *query* heads side by side                    [batch, tokens, heads * d_h]
    mlp.2         output of its MLP, before it is added to the stream  [batch, tokens, d]

With grouped-query attention several query heads share keys and values, but each has a result of
its own: head h is columns h * d_h to (h + 1) * d_h.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from steps.stage import StageError

KINDS = ("residual", "heads", "mlp")


def sites(layers: Iterable[int], kinds: Iterable[str]) -> list[str]:
    """Every site of some layers and kinds of site, by layer. Raises StageError for unknown kinds.

    layers, kinds: as params.diff.layers and params.diff.sites.
    """
    kinds = list(kinds)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise StageError(
            f"diff.sites = {unknown[0]!r}: a kind of site is one of {', '.join(KINDS)}"
        )
    return [f"{kind}.{layer}" for layer in dict.fromkeys(layers) for kind in dict.fromkeys(kinds)]


def layer_of(site: str) -> int:
    """The layer in a site's name. Raises StageError for what is no site's name."""
    kind, _, layer = site.partition(".")
    if kind not in KINDS or not layer.isdecimal():
        raise StageError(
            f"diff.sites: {site!r} names no site: give one such as {KINDS[0]}.2, {KINDS[1]}.2 "
            f"or {KINDS[2]}.2"
        )
    return int(layer)


def decoder_layers(model: Any) -> Any:
    """The language model's layers, a ModuleList, of a Hugging Face VLM or language model."""
    return model.get_decoder().layers


def width(model: Any, site: str) -> int:
    """How many numbers a token has at a site. Raises StageError for one that is not there."""
    if site.startswith("heads."):
        return _module(model, site).in_features
    _module(model, site)
    return model.config.get_text_config().hidden_size


@contextmanager
def capture(model: Any, sites: Iterable[str], grad: bool = False) -> Iterator[dict[str, Tensor]]:
    """While open, each forward pass of `model` leaves what `sites` give in the dict given.

    As the model computed it, residual and mlp [B, T, d], heads [B, T, heads * d_h]; detached,
    unless `grad` asks for tensors that are part of the pass's graph. Opened after an `edit`, it
    sees what the edit put there, and before it what was there. Raises StageError for a site that
    the model does not have.

        with capture(model, ["residual.2", "heads.2"]) as seen:
            model(**batch)
        seen["residual.2"]
    """
    seen: dict[str, Tensor] = {}

    def keep(site: str) -> Callable[[Tensor], None]:
        return lambda x: seen.update({site: x if grad else x.detach()})

    with _hooked(model, {site: keep(site) for site in sites}):
        yield seen


@contextmanager
def edit(model: Any, edits: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """While open, forward passes of `model` go on with `edits[site](x)` for what each site gives.

    x and what comes instead have the site's shape, as in `capture`; for heads it is the input of
    the output projection. A function must not write into x. Gradients flow through it. Raises
    StageError for a site that the model does not have, ValueError in the forward pass where the
    shape changes.
    """

    def checked(site: str, change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def work(x: Tensor) -> Tensor:
            new = change(x)
            if new.shape != x.shape:
                raise ValueError(f"edit of {site}: {tuple(x.shape)} became {tuple(new.shape)}")
            return new

        return work

    with _hooked(model, {site: checked(site, change) for site, change in edits.items()}):
        yield


def stop_after(model: Any, layer: int) -> None:
    """Take the layers behind `layer` off the language model: what is before gives the same."""
    stack = decoder_layers(model)
    _check(stack, layer)
    del stack[layer + 1 :]


@contextmanager
def _hooked(model: Any, work: Mapping[str, Callable[[Tensor], Tensor | None]]) -> Iterator[None]:
    """While open, `work[site]` is given what each site gives; a tensor it returns comes instead."""

    def before(function: Callable[[Tensor], Tensor | None]) -> Any:
        def hook(module: Any, args: Any) -> Any:
            new = function(args[0])
            return None if new is None else (new, *args[1:])

        return hook

    def behind(function: Callable[[Tensor], Tensor | None]) -> Any:
        def hook(module: Any, args: Any, output: Any) -> Any:
            # a tensor in transformers 5, a tuple that starts with it in some older model classes:
            # output[0] of a tensor would silently be the batch's first item
            if isinstance(output, Tensor):
                return function(output)
            new = function(output[0])
            return None if new is None else (new, *output[1:])

        return hook

    with ExitStack() as stack:
        for site, function in work.items():
            module = _module(model, site)
            if site.startswith("heads."):
                handle = module.register_forward_pre_hook(before(function))
            else:
                handle = module.register_forward_hook(behind(function))
            stack.callback(handle.remove)
        yield


def _module(model: Any, site: str) -> Any:
    """The module whose output, or for heads whose input, a site is."""
    layer = layer_of(site)
    stack = decoder_layers(model)
    _check(stack, layer)
    kind = site.partition(".")[0]
    path = {"residual": "", "heads": "self_attn.o_proj", "mlp": "mlp"}[kind]
    try:
        return stack[layer].get_submodule(path)
    except AttributeError:
        raise StageError(
            f"diff.sites = {kind!r}: layer {layer} of this language model has no {path}: "
            "leave this kind of site out"
        ) from None


def _check(stack: Any, layer: int) -> None:
    if not 0 <= layer < len(stack):
        raise StageError(
            f"diff.layers = {layer}: the language model has layers 0 to {len(stack) - 1}"
        )
