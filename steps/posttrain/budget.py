"""What an arm's training cost, in four currencies: steps, tokens, image encodings, FLOPs.

FLOPs are counted from sizes, not measured: a forward pass costs 2 N for each token that a part
with N parameters reads, the gradients of its trained weights 2 each, and those of what it reads 2 N
more, if anything at or before it is trained (Kaplan et al. 2020, 2001.08361, table 1: 6 N in all
where all is trained; attention's share, which grows with length, is left out). The tower and the
projector read image tokens, the language model (its tied embedding counted once, as the output
layer) reads all tokens. What the answers of a group, or of a pair, begin with is read once, as it
is run (see `steps.models.grouped`): their image, their question and the words that they share.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from steps.models.families import part

PARTS = ("tower", "projector", "language")


@dataclass(frozen=True)
class Passes:
    """Tokens (text and image together) and images that went through the model in one way."""

    tokens: int = 0
    images: int = 0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(self.tokens + other.tokens, self.images + other.images)

    def __sub__(self, other: "Passes") -> "Passes":
        return Passes(self.tokens - other.tokens, self.images - other.images)


NOTHING = Passes()


def sizes(model: Any) -> dict[str, int]:
    """Parameters in each of `PARTS`; tied ones once, and no copy that PEFT keeps aside."""
    found = dict.fromkeys(PARTS, 0)
    for name, weights in model.named_parameters():
        found[part(name)] += weights.numel() * ("original_module" not in name)
    return found


def trainable(model: Any) -> dict[str, int]:
    """Parameters in each of `PARTS` that are trained."""
    found = dict.fromkeys(PARTS, 0)
    for name, weights in model.named_parameters():
        found[part(name)] += weights.numel() * weights.requires_grad
    return found


def lengths(processor: Any, image_tokens: int, prompts: list[str], texts: list[str]) -> np.ndarray:
    """Tokens [N] of each prompt with its image and its response, as the chat template joins them.

    An empty text stands for a prompt that waits for its answer. image_tokens: those of one image.
    """
    found = _encoded(processor, prompts, texts)
    return np.array([len(row) for row in found]) + image_tokens - 1


def paired(
    processor: Any, image_tokens: int, prompts: list[str], one: list[str], other: list[str]
) -> np.ndarray:
    """Tokens [N] of each prompt with its image and two responses, what these share read once.

    The last shared token is read for both, since they go on from it in different ways.
    """
    counts = []
    for a, b in zip(*(_encoded(processor, prompts, texts) for texts in (one, other)), strict=True):
        differ = (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
        shared = next(differ, min(len(a), len(b)))
        counts.append(len(a) + len(b) - (shared - 1) + image_tokens - 1)
    return np.array(counts)


def _encoded(processor: Any, prompts: list[str], texts: list[str]) -> list[list[int]]:
    """Token ids of prompts and responses, an image as one token."""
    rendered = []
    for prompt, text in zip(prompts, texts, strict=True):
        talk = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
        if text:
            talk.append({"role": "assistant", "content": [{"type": "text", "text": text}]})
        rendered.append(
            processor.tokenizer.apply_chat_template(
                talk, tokenize=False, add_generation_prompt=not text
            )
        )
    return processor.tokenizer(rendered, add_special_tokens=False)["input_ids"]


def spent(
    model: Any,
    steps: int,
    trained: Passes = NOTHING,
    reference: Passes = NOTHING,
    rollouts: Passes = NOTHING,
) -> dict[str, float]:
    """The budget as metrics.

    trained: forward and backward passes of the policy. reference: forward passes of the model that
    it is held to. rollouts: forward passes that sampled answers, each position once (the keys and
    values of earlier ones are kept).
    """
    n, moved = sizes(model), trainable(model)
    per_image = model.config.image_seq_length

    def forward(passes: Passes, trains: bool = False) -> float:
        flops, read = 0.0, dict.fromkeys(PARTS, passes.images * per_image)
        read["language"] = passes.tokens
        for number, name in enumerate(PARTS):
            back = trains and any(moved[before] for before in PARTS[: number + 1])
            flops += 2.0 * ((1 + back) * n[name] + trains * moved[name]) * read[name]
        return flops

    return {
        "budget/steps": steps,
        "budget/tokens": trained.tokens,
        "budget/reference_tokens": reference.tokens,
        "budget/rollout_tokens": rollouts.tokens,
        "budget/images": (trained + reference + rollouts).images,
        "budget/flops": forward(trained, trains=True) + forward(reference) + forward(rollouts),
    }


def free() -> dict[str, float]:
    """The budget of an arm that does not train."""
    names = ("steps", "tokens", "reference_tokens", "rollout_tokens", "images", "flops")
    return {f"budget/{name}": 0 for name in names}
