"""What each head looks at from the token that answers, and what it writes there."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.diff import hooks, reading
from steps.diff.drivers.pairs import Pairs
from steps.diff.drivers.patching import heads
from steps.diff.drivers.targets import Target, turns
from steps.models import connectivity
from steps.models.look import overlap, square

PLACES = ("first", "second", "other")
"""Where attention goes: to the patches of the object named first, second, and all others."""


class _Last:
    """Reads what the last token pays to the image's tokens, layer by layer: [B, H, N] each."""

    def __init__(self, mask: Tensor, image: Tensor) -> None:
        self.mask, self.image, self.paid = mask.bool(), image, []

    def read(self, query: Tensor, key: Tensor, scale: float) -> None:
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1).float()
        scores = torch.einsum("bhd,bhpd->bhp", query[:, :, -1].float(), key) * scale
        sight = self.mask[:, None].to(scores.device)
        paid = scores.masked_fill(~sight, -torch.inf).softmax(-1).transpose(1, 2)
        image = paid[self.image.to(paid.device)].view(len(paid), -1, paid.shape[-1])
        self.paid.append(image.transpose(1, 2))


def looks(
    model: Any, processor: Any, pairs: Pairs, aims: Sequence[Target], batch: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attention by PLACES [S, L, H, 3], the objects' share of the patches [S], writes [T, S, L, H].

    A patch counts by the share of it that lies in an object's box (`overlap`; nothing where the
    object is hidden), and as other by what lies in neither. Writes: what a head itself adds to the
    stream along the decoder's row d_j, <W_O,h (a_h(scene) - a_h(twin)), d_j / |d_j|>, turned
    towards the feature's relation; NaN for other sites than the stream and heads behind them.
    Raises StageError where image tokens make no square.
    """
    layers, count = heads(model)
    places = [f"heads.{layer}" for layer in range(layers)]
    boxes, rest = _boxes(square(model, "heads"), pairs)
    paid, wrote = [], []
    for start in range(0, len(pairs.table), batch):
        some = pairs.rows(slice(start, start + batch))
        last = _Last(some.clean.mask, some.clean.types == reading.IMAGE)
        with connectivity.reading(model, range(layers), last):
            (scene,) = reading.read(model, processor, some.clean, places, batch)
        (twin,) = reading.read(model, processor, some.twin, places, batch)
        inside = np.concatenate([boxes, rest[None]])[:, start : start + batch]
        seen = torch.stack(last.paid, 1).double().cpu()
        paid.append(torch.einsum("blhn,kbn->blhk", seen, torch.from_numpy(inside).double()).numpy())
        lost = [
            (scene.seen[p][:, -1] - twin.seen[p][:, -1]).unflatten(-1, (count, -1)) for p in places
        ]
        wrote.append(np.stack([_written(model, aim, lost) for aim in aims]))
    way = turns(aims, pairs.table)[..., None, None]
    return np.concatenate(paid), 1 - rest.mean(1), np.concatenate(wrote, 1) * way


def _boxes(side: int, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """How far each patch lies in the two objects' boxes [2, S, N], and in neither [S, N]."""
    table, images = pairs.table, pairs.clean.images
    assert images is not None
    canvas = images.shape[1]
    named = [
        np.stack([overlap(boxes, side, canvas) for boxes in table[f"{name}_box"]])
        for name in ("first", "second")
    ]
    both = zip(table["first_box"], table["second_box"], strict=True)
    union = np.stack([overlap([*one, *other], side, canvas) for one, other in both])
    return np.stack(named), 1 - union


def _written(model: Any, aim: Target, lost: list[Tensor]) -> np.ndarray:
    """Along the target's decoder row [B, L, H], from each layer's change of heads [B, H, dh]."""
    batch, count, _ = lost[0].shape
    found = np.full((batch, len(lost), count), np.nan)
    if aim.write is None or not aim.site.startswith("residual"):
        return found
    unit = torch.nn.functional.normalize(aim.write, dim=0)
    for layer in range(aim.deepest(len(lost)) + 1):
        out = hooks.decoder_layers(model)[layer].self_attn.o_proj.weight.detach()
        along = (unit.to(out) @ out).view(count, -1)
        found[:, layer] = torch.einsum("bhd,hd->bh", lost[layer].to(out), along).cpu().numpy()
    return found
