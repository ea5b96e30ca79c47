"""GPU memory that a stage's process holds, by kind.

Training: weights, gradients, optimiser, activations of one pass. Reading and sampling: weights,
the cache of keys and values, logits. A stage's largest moment counts: arms are held against their
base in the end, with two more models beside the trainer's. Heads are fused with the loss (TRL, and
`steps.models.packed`), so that no logits of a whole pass are kept.
"""

from typing import Any

from steps.posttrain.budget import PARTS
from steps.posttrain.dose import ITEMS
from steps.study.costs import formulas
from steps.study.costs.models import asked
from steps.study.costs.work import Case

USABLE = 0.92
"""Share of a GPU's memory that tensors get: the rest is CUDA's context, kernels and fragments."""
MODELS = {"drift": 3, "heads": 2, "intervene": 2, "baselines": 3, "localise": 2, "tokens": 2}
"""Models that a reading stage holds at once, where there are several."""
RECIPE = {"tower": ("tower",), "language": ("language",), "align": ("projector",)}
"""What a part of the recipe trains; all of it where it is not named here."""
TRAINS = ("tower", "language", "align", "instruct", "tuned", "reuse", "newcomers")
DRAWS = {"pairs": "draws", "sharpen": "draws"}
"""Sections whose questions have several answers at once, and the key that says how many."""


def held(stage: str, case: Case) -> dict[str, float]:
    """Bytes by kind, of one process of a stage, at its largest moment."""
    if stage in ("sft", "dpo", "grpo", "joined"):
        return _arm(stage, case)
    if stage in TRAINS:
        return _recipe(stage, case)
    told = getattr(case.params, stage, None)
    batch = getattr(told, "batch", 32) if stage not in ("dictionary",) else 32
    rows = batch * (getattr(told, DRAWS[stage]) if stage in DRAWS else 1)
    longest = getattr(told, "max_tokens", case.talk.said)
    tokens = rows * (case.prompt + longest)
    found = {"weights": 4.0 * MODELS.get(stage, 1) * case.shape.parameters}
    found["cache"] = formulas.cache(case.shape.language, tokens)
    wide = case.shape.language.feed_forward
    found["activations"] = 4.0 * (2 * rows * case.prompt * wide + rows * case.shape.vocabulary)
    if stage in ("localise",):
        found |= _kept(case, told.batch * case.whole, told.batch, 4, False)
    if stage in ("dictionary", "turned", "controls", "quality"):
        diff = case.params.diff
        size = 2.0 * case.shape.language.width * diff.width
        found["dictionaries"] = 16.0 * size * len(diff.layers) * len(diff.sites)
    return found


def _kept(case: Case, tokens: float, images: float, size: int, recompute: bool) -> dict[str, float]:
    """Activations of one pass of both stacks."""
    shape = case.shape
    eye = formulas.activations(shape.tower, images * shape.patches, size, recompute)
    return {"activations": eye + formulas.activations(shape.language, tokens, size, recompute)}


def _arm(stage: str, case: Case) -> dict[str, float]:
    told = case.params.join if stage == "joined" else case.told
    alike = case.params.train
    low = alike.precision == "bfloat16"
    size, share = (2 if low else 4), (alike.processes if alike.shard else 1)
    trained, every = sum(case.trained(told.parts).values()), case.shape.parameters
    frozen = every - trained * (not alike.lora.rank)
    found = formulas.states(trained, frozen, low)
    found = {name: value / share for name, value in found.items()}
    micro = min(alike.micro_batch, alike.batch // alike.processes)
    tokens, images = micro * case.whole, micro
    sampling: dict[str, float] = {}
    if stage == "dpo":
        tokens = micro * (case.prompt + 2 * case.talk.said)
    if stage == "grpo":
        groups = max(1, told.micro_batch // told.generations)
        images = min(groups, told.prompts // alike.processes)
        tokens = images * (case.prompt + told.generations * case.talk.said)
        rows = told.prompts * told.generations / alike.processes
        longest = rows * (case.talk.asked + told.max_tokens) + told.prompts * case.shape.tokens
        sampling = {"cache": formulas.cache(case.shape.language, longest)}
        if told.sampler == "vllm":
            sampling = {}
        if told.beta and not alike.lora.rank:
            found["reference"] = 4.0 * every / share
    training = _kept(case, tokens, images, size, alike.recompute)
    moments = [found | training, found | sampling]
    words = 4.0 * ITEMS * case.talk.said * case.shape.vocabulary
    # By the end autocast's copies and the gradients are gone.
    alone = formulas.states(trained, frozen, low=False)["weights"] / share
    kept = {name: value for name, value in found.items() if name != "gradients"}
    moments.append(kept | {"weights": alone, "comparison": 8.0 * every + words})
    if stage == "dpo" and not alike.lora.rank:  # before gradients and moments are there
        moments.append({"weights": found["weights"], "reference": 4.0 * every})
    return max(moments, key=lambda held: sum(held.values()))


def _recipe(stage: str, case: Case) -> dict[str, float]:
    told: Any = case.params.recipe
    part = getattr(case.params, "tuned" if stage == "tuned" else "recipe")
    part = part if stage == "tuned" else getattr(told, stage, None)
    if stage in ("reuse", "newcomers"):
        part = case.params.reuse.instruct
    parts = RECIPE.get(stage, PARTS)
    sizes = {name: case.shape.sizes[name] for name in parts}
    low = part.precision == "bfloat16"
    rest = 0 if stage in ("tower", "language") else case.shape.parameters - sum(sizes.values())
    found = formulas.states(sum(sizes.values()), rest, low)
    tokens = 0 if stage == "tower" else part.batch * asked(case, told.image_questions)
    images = 0 if stage == "language" else part.batch
    return found | _kept(case, tokens, images, 2 if low else 4, False)
