"""What a model answers when the stream behind one of its layers is edited, without whole passes.

An edit of words behind the image changes neither the layers before it nor what the image leaves in
the layers behind it. So each question is read once, up to the layer; the keys and values up to the
image's end are kept; and for each edit only the layers behind it run, on the words behind the image
alone. They are called with the very arguments that the model itself gave them, whichever these are
for its family; a test holds the answers against whole passes with `hooks.edit`, and `answers` holds
the unedited ones against the model's own on every question.
"""

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.diff import hooks, reading
from steps.diff.reading import Asked
from steps.models import families, load
from steps.models.look import distinct
from steps.stage import StageError

NEAR = 1e-2
"""How far, in logits, the unedited answers may be from the model's own before a stage stops."""


@dataclass(frozen=True)
class Edit:
    """One change of the stream: who is changed (role, name), how (form), and how much (amount).

    apply: the stream x [B, T, d] and its codes z [B, T, f] to the new stream; what it says of words
    that are not to be edited is not used. onward: it is applied again behind each later layer.
    """

    role: str
    name: int
    form: str
    amount: float
    apply: Callable[[Tensor, Tensor], Tensor]
    onward: bool = False


@dataclass
class Questions:
    """Questions that are answered with one word of a closed set.

    choices: the token that each answer begins with, int64 [N, C], -1 beyond a question's own set.
    true: which of them is right [N]. kind: what is asked for [N], a relation or an item's kind.
    """

    asked: Asked
    choices: Tensor
    true: np.ndarray
    kind: np.ndarray

    def __len__(self) -> int:
        return len(self.true)


@dataclass
class Answers:
    """What edits make a model answer: scores [E, N, C], logits of the choices, -inf beyond them.

    outside: where the likeliest word of all is none of the choices, bool [E, N]. apart: the largest
    distance, in logits, of the unedited answers to those of whole passes.
    """

    scores: np.ndarray
    outside: np.ndarray
    apart: float


class Behind:
    """A batch of questions about images, read up to a layer."""

    def __init__(self, model: Any, layer: int, rows: Asked, pixels: Callable) -> None:
        """pixels: what turns images into what the model's tower reads (`load.reader`)."""
        families.only(model, "diff's readings behind a layer")
        self.model, self.layer, place = model, layer, model.device
        if rows.images is None:
            raise ValueError("questions without an image have nothing to go on from")
        last = (rows.types == reading.IMAGE).int().cumsum(1).argmax(1)
        pads = rows.mask.shape[1] - rows.mask.sum(1)
        known = int((last - pads)[0]) + 1  # words up to the image's end, the same in each row
        width = rows.ids.shape[1] - int(last.min()) - 1
        ids, at = rows.ids[:, -width:], torch.arange(rows.ids.shape[1] - width, rows.ids.shape[1])
        self.real = (at > last[:, None]).to(place)
        self.words = self.real & (rows.types[:, -width:] >= reading.QUESTION).to(place)
        mask = torch.cat([self.real.new_ones(len(rows), known), self.real], 1).long()
        first, place_of = distinct(rows.images)
        before = rows.ids[0, int(pads[0]) : int(pads[0]) + known].expand(len(first), -1)
        shown = pixels(rows.images[first]).to(place)
        out = model(
            input_ids=before.to(place), pixel_values=shown, use_cache=True, logits_to_keep=1
        )
        self.cache = out.past_key_values
        self.cache.batch_select_indices(torch.tensor(place_of, device=place))
        self.given: dict[int, dict[str, Any]] = {}
        with hooks.capture(model, [site := f"residual.{layer}"]) as seen, self._noted():
            out = model(
                input_ids=ids.to(place),
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1)[:, known:],
                past_key_values=self._kept(),
                logits_to_keep=1,
            )
        self.stream, self.logits = seen[site], out.logits[:, -1]

    def run(self, edit: Edit | None, codes: Tensor | None = None) -> Tensor:
        """The logits [B, words] of the next word when the stream is edited; None for unedited."""

        def edited(x: Tensor) -> Tensor:
            if edit is None:
                return x
            return torch.where(self.words[..., None], edit.apply(x, codes), x)

        x, stack, cache = edited(self.stream), hooks.decoder_layers(self.model), self._kept()
        for number in range(self.layer + 1, len(stack)):
            given = self.given[number] | {"past_key_values": cache}
            with _only_last(stack[number], number + 1 == len(stack)):
                out = stack[number](x, **given)
            x = out if isinstance(out, Tensor) else out[0]
            if edit is not None and edit.onward:
                x = edited(x)
        x = self.model.get_decoder().norm(x[:, -1:])
        return self.model.get_output_embeddings()(x)[:, -1]

    def _kept(self) -> Any:
        """A copy of the keys and values up to the image's end: a pass adds its own to them."""
        some = copy.copy(self.cache)
        some.layers = [copy.copy(layer) for layer in self.cache.layers]
        return some

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """While open, what the layers behind are called with is noted."""

        def noting(number: int) -> Callable:
            return lambda module, args, given: self.given.update({number: given})

        stack = hooks.decoder_layers(self.model)
        handles = [
            stack[number].register_forward_pre_hook(noting(number), with_kwargs=True)
            for number in range(self.layer + 1, len(stack))
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def _only_last(layer: Any, last: bool) -> Iterator[None]:
    """While open, the model's last layer attends and thinks for the last word alone.

    All words' keys and values are needed there, but no other word's output: what enters the output
    matrix and the MLP is cut to the last word (and then added to all, of which only it is read).
    """
    cut = [layer.self_attn.o_proj, layer.mlp] if last else []
    handles = [
        part.register_forward_pre_hook(lambda module, args: (args[0][:, -1:], *args[1:]))
        for part in cut
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def answers(
    model: Any,
    processor: Any,
    some: Questions,
    layer: int,
    edits: Sequence[Edit],
    dictionary: Any,
    batch: int,
) -> Answers:
    """What the model answers unedited (first, number 0) and under each of the edits.

    dictionary: whose `codes` the edits read. batch: questions in a pass. Raises StageError where
    the layers behind, called on their own, do not give what the whole model gives.
    """
    pixels = load.reader(processor.image_processor)
    scores, outside, apart = [], [], 0.0
    for start in range(0, len(some), batch):
        rows = slice(start, start + batch)
        seen = Behind(model, layer, some.asked.rows(rows), pixels)
        codes = dictionary.codes(seen.stream.flatten(0, 1)).unflatten(0, seen.stream.shape[:2])
        choices = some.choices[rows].to(model.device)
        found, beyond = [], []
        for edit in (None, *edits):
            logits = seen.run(edit, codes)
            if edit is None:
                apart = max(apart, float((logits - seen.logits).abs().max()))
            picked = logits.gather(1, choices.clamp_min(0)).masked_fill(choices < 0, -torch.inf)
            found.append(picked.double().cpu())
            beyond.append((logits.amax(1) > picked.amax(1)).cpu())
        scores.append(torch.stack(found))
        outside.append(torch.stack(beyond))
        done = min(start + batch, len(some))
        print(f"{done} of {len(some)} questions under {len(edits)} edits", file=sys.stderr)
    if not apart < NEAR:
        raise StageError(
            f"the layers behind layer {layer} on their own give logits that are {apart:.2g} off "
            "the whole model's, so that edits cannot be told apart from it: leave intervene out "
            "of `instruments` for this family of models"
        )
    return Answers(torch.cat(scores, 1).numpy(), torch.cat(outside, 1).numpy(), apart)
