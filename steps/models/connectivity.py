"""How strongly each word of an answer is tied to the image: attention's mass on image tokens.

AT-RL (Jiao et al. 2026, 2602.11455) calls the attention that a generated token pays to the image
its connectivity. It is read here in a forward pass that runs anyway, for chosen layers and heads
and for the rows that predict the answer alone, from queries and keys behind their rotation; the
layers' own outputs come from the model's usual kernel, so logits do not change. No matrix of
attention over the whole sequence is ever made.

Mass alone follows the share of tokens that belong to the image: an untrained model pays about that
share. Enrichment is mass over it, as odds are over chance.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from steps.stage import StageError

CELLS = 16
"""Cells that the image's tokens are pooled into, in reading order: the pattern of a word's look."""
BUDGET = 2**24
"""Attention weights held at a time, at most (a single sequence may need more)."""
DROP_ABOVE = 10.0
"""An image token is a sink where its mean over rows is this many times the median token's."""

Sinks = Literal["keep", "first", "image"]


@dataclass(frozen=True)
class Connectivity:
    """What answers' words attend to, float32, averaged over layers and heads.

    mass [B, T]: attention on image tokens. visible [B, T]: the share of keys in sight that are the
    image's. pattern [B, T, CELLS]: where on the image it falls; sums to mass.
    """

    mass: Tensor
    visible: Tensor
    pattern: Tensor

    @property
    def enrichment(self) -> Tensor:
        """Mass over the visible-key share [B, T]: 1 where a row spreads evenly over its keys."""
        return self.mass / self.visible.clamp_min(1e-9)


@contextmanager
def watched(
    model: Any,
    ids: Tensor,
    mask: Tensor,
    answer: int,
    layers: Sequence[int],
    heads: Sequence[int] | None = None,
    sinks: Sinks = "keep",
    spread: Callable[[Tensor], Tensor] | None = None,
    region: Tensor | None = None,
) -> Iterator["Watch"]:
    """While open, a forward pass of `model` on `ids` leaves its connectivity in what is given.

    ids, mask: token ids and attention mask [B, L] of prompts, padded on the left, and answers of
    `answer` tokens, padded on the right. layers, heads: which, counted from 0; None takes all
    heads. sinks: `keep` all attention; `first` leaves out the first visible key (BOS); `image`
    leaves out image tokens that every row looks at; what is left is scaled to sum to 1. spread:
    turns queries and keys into those of `ids`, where the pass has another layout
    (`steps.models.grouped`). region: bool [B, L], tokens that take the image's place, where there
    is none. Raises StageError for a layer or head that the model does not have.
    """
    region = ids == model.config.image_token_id if region is None else region
    watch = Watch(region, mask.bool(), answer, heads, sinks, spread)
    with reading(model, layers, watch):
        yield watch


@contextmanager
def reading(model: Any, layers: Sequence[int], reader: Any) -> Iterator[None]:
    """While open, a forward pass of `model` shows `reader` the attention of `layers`, in order.

    It calls `reader.read(query, key, scale)` with query [B, H, R, D] and key [B, K, L, D] behind
    their rotation; L - R keys stand in a cache. Raises StageError for a layer that is not there.
    """
    stack = model.get_decoder().layers
    if not layers or not all(0 <= layer < len(stack) for layer in layers):
        raise StageError(
            f"layers = {list(layers)}: the language model has layers 0 to {len(stack) - 1}; set "
            "tokens.layers, gaze.layers or grpo.layers"
        )
    decoder = model.get_decoder()
    before = decoder.config._attn_implementation
    decoder.set_attn_implementation(_observed(before))
    places = [stack[layer].self_attn for layer in layers]
    for place in places:
        place.watch = reader
    try:
        yield
    finally:
        for place in places:
            del place.watch
        decoder.set_attn_implementation(before)


class Watch:
    """Reads queries and keys as they pass, and keeps no more than the rows' mass on the image."""

    def __init__(
        self,
        image: Tensor,
        mask: Tensor,
        answer: int,
        heads: Sequence[int] | None,
        sinks: Sinks,
        spread: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.spread = spread
        self.mask, self.image, self.heads, self.sinks = mask, image & mask, heads, sinks
        length = image.shape[1]
        self.rows = torch.arange(length - answer - 1, length - 1, device=image.device)
        self.cells = torch.nn.functional.one_hot(_cells(self.image), CELLS + 1)[..., :CELLS].float()
        self.found: list[Tensor] = []

    def read(self, query: Tensor, key: Tensor, scale: float) -> None:
        """Add a layer's attention: query [B, H, L, D], key [B, K, L, D], H a multiple of K."""
        if self.spread is not None:
            query, key = self.spread(query.detach()), self.spread(key.detach())
        batch, count = query.shape[:2]
        chosen = torch.arange(count) if self.heads is None else torch.tensor(self.heads)
        if len(chosen) == 0 or not 0 <= int(chosen.min()) <= int(chosen.max()) < count:
            raise StageError(
                f"heads = {chosen.tolist()}: a layer has heads 0 to {count - 1}; set grpo.heads"
            )
        weights = max(1, len(chosen) * len(self.rows) * key.shape[2])
        step = max(1, BUDGET // weights)
        with torch.no_grad():
            self.found.append(
                torch.cat(
                    [
                        self._pooled(query, key, scale, chosen, slice(b, b + step))
                        for b in range(0, batch, step)
                    ]
                )
            )

    def _pooled(self, query: Tensor, key: Tensor, scale: float, heads: Tensor, some: slice) -> Any:
        """Attention of the answers' rows pooled over the image's cells: [b, T, CELLS]."""
        group = query.shape[1] // key.shape[1]
        q = query[some][:, heads][:, :, self.rows].float()
        k = key[some][:, heads // group].float()  # a query head's key head
        keys = torch.arange(key.shape[2], device=key.device)
        sight = self.mask[some, None, None] & (keys <= self.rows[:, None])
        scores = (q @ k.transpose(-1, -2) * scale).masked_fill(~sight, -torch.inf)
        if self.sinks == "first":
            mask = self.mask[some]
            scores = scores.masked_fill((mask & (mask.cumsum(1) == 1))[:, None, None], -torch.inf)
        paid = scores.softmax(-1)
        if self.sinks == "image":
            paid = scores.masked_fill(self._sinks(paid, some)[:, None, None], -torch.inf).softmax(
                -1
            )
        return (paid.mean(1) @ self.cells[some]).float()

    def _sinks(self, paid: Tensor, some: slice) -> Tensor:
        """Image tokens [b, L] that rows and heads look at far more than at the median one."""
        image, column = self.image[some], paid.mean((1, 2))
        usual = column.masked_fill(~image, torch.nan).nanmedian(1, keepdim=True).values
        return image & (column > DROP_ABOVE * usual)

    def connectivity(self) -> Connectivity:
        """What was read, averaged over the layers. Raises RuntimeError before any pass."""
        if not self.found:
            raise RuntimeError("no forward pass was watched")
        pattern = torch.stack(self.found).mean(0)
        seen = self.mask.cumsum(1)[:, self.rows].clamp_min(1)
        shown = self.image.cumsum(1)[:, self.rows]
        return Connectivity(pattern.sum(-1), shown / seen, pattern)


def _cells(image: Tensor) -> Tensor:
    """Cell [B, L] of each image token, CELLS for all other tokens.

    A square grid is cut into 4 x 4 blocks, any other number of tokens into runs of equal length.
    """
    rank, count = image.cumsum(1) - 1, image.sum(1, keepdim=True).clamp_min(1)
    side, parts = count.float().sqrt().round().long(), int(CELLS**0.5)
    block = rank // side * parts // side * parts + rank % side * parts // side
    cell = torch.where(side**2 == count, block, rank * CELLS // count)
    return torch.where(image, cell.clamp(0, CELLS - 1), CELLS)


def _observed(name: str) -> str:
    """The attention `name` with a look at what passes, registered with transformers."""
    if name == "eager":
        raise StageError("attention is eager: load the model with sdpa to read it as it passes")
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    kernel = ALL_ATTENTION_FUNCTIONS[name]

    def attend(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        if (watch := getattr(module, "watch", None)) is not None:
            window = options.get("sliding_window")
            if options.get("softcap") or (window and key.shape[2] > window):
                raise StageError(
                    f"layer {module.layer_idx} caps its scores or sees no further than a window of "
                    f"{window} tokens, fewer than {key.shape[2]}: its attention cannot be read as "
                    "it passes; choose other layers"
                )
            watch.read(query, key, options.get("scaling") or query.shape[-1] ** -0.5)
        return kernel(module, query, key, value, mask, **options)

    observed = f"observed_{name}"
    AttentionInterface.register(observed, attend)
    AttentionMaskInterface.register(observed, ALL_MASK_ATTENTION_FUNCTIONS[name])
    return observed
