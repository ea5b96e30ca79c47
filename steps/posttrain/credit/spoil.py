"""What the model would have said of a spoilt image: one more forward pass, without gradient."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from steps.models import families
from steps.posttrain.credit import vppo

SPOILT = 0.5
"""Share of an image's patches that VPPO blacks out."""


@contextmanager
def last_states(model: Any) -> Iterator[list[Tensor]]:
    """While open, each forward pass adds the decoder's last hidden states [B, L, D], detached."""
    found: list[Tensor] = []

    def keep(module: Any, args: Any, out: Any) -> None:
        found.append(out.last_hidden_state.detach())

    handle = model.get_decoder().register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


def blacked(
    pixels: Tensor, patch: int, processor: Any, generator: torch.Generator, share: float = SPOILT
) -> Tensor:
    """Images [B, 3, H, W] with each patch black with a chance of `share`, drawn for each anew."""
    images = processor.image_processor
    mean, std = (torch.tensor(images.to_dict()[k]) for k in ("image_mean", "image_std"))
    black = (-mean / std).to(pixels)[:, None, None]
    rows, columns = (-(-side // patch) for side in pixels.shape[-2:])
    out = torch.rand(len(pixels), 1, rows, columns, generator=generator) < share
    out = out.repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    out = out[..., : pixels.shape[-2], : pixels.shape[-1]].to(pixels.device)
    return torch.where(out, black, pixels)


def drift(
    model: Any,
    given: dict[str, Any],
    hidden: list[Tensor],
    ids: Tensor,
    told: Any,
    processor: Any,
    temperature: float,
    generator: torch.Generator,
    spread: Callable[[Tensor], Tensor],
) -> Tensor:
    """Token dependency [B, T]: divergence from the next-token distribution under a spoilt image.

    given: what the model was called with. hidden: `last_states` of that call. ids [B, T]: the
    answers. told.divergence: `exact` (the paper's) or `sampled` (the authors' code's). spread:
    turns states into those of the answers' rows, where the call packed them; answers that share an
    image in it share the spoilt one.
    """
    families.only(model, "grpo.credit = drift")
    patch = model.config.vision_config.patch_size
    spoilt = blacked(given["pixel_values"], patch, processor, generator, told.spoil)
    model(**{**given, "pixel_values": spoilt})
    head, rows = model.get_output_embeddings(), slice(-ids.shape[1] - 1, -1)
    found = []
    kept_rows, other_rows = map(spread, hidden)
    for kept, other, words in zip(
        kept_rows, other_rows, ids, strict=True
    ):  # one at a time: logits are wide
        logits = [head(part[rows]).float() / temperature for part in (kept, other)]
        if told.divergence == "exact":
            found.append(vppo.exact(*logits))
        else:
            said = [x.log_softmax(-1).gather(-1, words[:, None])[:, 0] for x in logits]
            found.append(vppo.sampled(*said))
    return torch.stack(found)
