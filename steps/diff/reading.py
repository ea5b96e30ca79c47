"""A model reads questions, with begun answers or without, while hooks look or interfere.

Everything is padded on the left, so that the last token is the one whose logits say the next word.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.diff import hooks
from steps.models import load
from steps.models.sample import located, rendered
from steps.stage import StageError

IMAGE, QUESTION, ANSWER, TOLD = range(4)
"""Token types; -1 is padding and what stands before the image or the scene in words."""


@dataclass
class Asked:
    """Token ids, mask and types [N, P] of questions, and their images uint8 [N, H, W, 3] if any."""

    ids: Tensor
    mask: Tensor
    types: Tensor
    images: np.ndarray | None

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, some: Any) -> "Asked":
        """Some of the questions: a slice, indices or a mask."""
        images = None if self.images is None else self.images[some]
        return Asked(self.ids[some], self.mask[some], self.types[some], images)


@dataclass
class Read:
    """What a pass over rows start .. start + B gave: sites' activations, types, last logits.

    seen: site to [B, P, d]. types: [B, P]. logits: [B, words], of the word that comes next.
    """

    start: int
    seen: dict[str, Tensor]
    types: Tensor
    logits: Tensor


def asked(
    processor: Any,
    image_tokens: int,
    prompts: Sequence[str],
    begun: Sequence[str] | None = None,
    images: np.ndarray | None = None,
    scenes: Sequence[str] | None = None,
) -> Asked:
    """Questions as the model reads them, up to where it is to answer.

    begun: the words that each answer begins with (type ANSWER). images, or scenes (each scene told
    in words in front of the question, type TOLD), or neither. image_tokens: as the model's
    config.image_seq_length says.
    """
    begun = [""] * len(prompts) if begun is None else list(begun)
    told = [""] * len(prompts) if scenes is None else [f"{scene} " for scene in scenes]
    texts = [scene + prompt for scene, prompt in zip(told, prompts, strict=True)]
    whole = rendered(processor, 0 if images is None else image_tokens, texts, begun)
    found, places = located(processor, whole)
    ids, mask = found["input_ids"], found["attention_mask"]
    types = torch.full_like(ids, -1)
    for i, (text, scene, prompt, start) in enumerate(zip(whole, told, prompts, begun, strict=True)):
        asks = text.rindex(prompt.strip(), 0, len(text) - len(start))
        ends = places[i, :, 1]
        real = mask[i].bool() & (ends > 0)
        types[i, real & (ends > asks)] = QUESTION
        if scene:
            types[i, real & (ends > asks - len(scene)) & (ends <= asks)] = TOLD
        if start:
            types[i, real & (ends > len(text) - len(start))] = ANSWER
    types[ids == processor.image_token_id] = IMAGE
    return Asked(ids, mask, types, images)


def read(
    model: Any,
    processor: Any,
    some: Asked,
    sites: Sequence[str] = (),
    batch: int = 64,
    edits: Callable[[int, Asked], dict[str, Callable[[Tensor], Tensor]]] | None = None,
    grad: bool = False,
) -> Iterator[Read]:
    """Pass over the questions in batches; sites are captured, and what `edits` says is replaced.

    edits(start, rows): for a batch, what to do at sites (`hooks.edit`). Captured is what a site
    gives before an edit of it. With `grad` the passes keep their graph, and what is captured is
    part of it.
    """
    pixels = load.reader(processor.image_processor)
    for start in range(0, len(some), batch):
        rows = some.rows(slice(start, start + batch))
        given = {"input_ids": rows.ids, "attention_mask": rows.mask}
        given["position_ids"] = (rows.mask.cumsum(1) - 1).clamp_min(0)
        if rows.images is not None:
            given["pixel_values"] = pixels(rows.images)
        given = {name: value.to(model.device) for name, value in given.items()}
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad() if grad else torch.inference_mode())
            seen = stack.enter_context(hooks.capture(model, sites, grad=grad))
            if edits is not None:
                stack.enter_context(hooks.edit(model, edits(start, rows)))
            out = model(**given, use_cache=False, logits_to_keep=1)
        yield Read(start, dict(seen), rows.types, out.logits[:, -1])


def words(processor: Any, choices: Sequence[str]) -> Tensor:
    """The token that each choice begins with, int64 [choices].

    Raises StageError where two begin alike, so that the first token tells nothing.
    """
    tokenizer = processor.tokenizer
    plain = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in choices]
    first = [ids[0] for ids in plain]
    if len(set(first)) < len(first):
        raise StageError(
            f"some of {', '.join(choices)} begin with the same token, so that answers cannot be "
            "read off the first: leave spatial, heads and intervene out of `instruments`"
        )
    return torch.tensor(first)


def margins(logits: Tensor, choices: Tensor, true: np.ndarray) -> np.ndarray:
    """Log-odds of the true choice over the others, float64 [N]; true: index of each [N]."""
    scores = logits[:, choices.to(logits.device)].double().cpu()
    hit = torch.zeros_like(scores, dtype=torch.bool)
    hit[torch.arange(len(scores)), torch.as_tensor(true)] = True
    others = scores.masked_fill(hit, -torch.inf).logsumexp(1)
    return (scores[hit] - others).numpy()
