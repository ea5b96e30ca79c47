"""What it takes to put a base in place, or to make one by the recipe."""

from typing import Any

from steps.posttrain import budget
from steps.posttrain.budget import PARTS
from steps.study.costs.work import Case, Work, train

LOADED = 4.0
"""Seconds, measured, until a small model is loaded, read on held-out batches and written."""

MATRIX = 0.3
"""What a step of Muon on a matrix costs besides its products, in layers run."""


def weights(case: Case, copies: float = 1) -> float:
    """Bytes of a model as it is written: float32."""
    return 4.0 * copies * case.shape.parameters


def base(case: Case) -> Work:
    """Both stages of a base are copied; one from the hub is read and written anew."""
    hub = case.shape.source not in ("recipe.model",) and not case.shape.source.startswith("models/")
    return Work(disk=weights(case, 1 if hub else 2), start="model" if hub else "none")


def recipe(case: Case, part: Any, tokens: float, images: float, parts: Any) -> Work:
    """`part.steps` steps on `part.batch` rows of fresh scenes each."""
    count = part.steps * part.batch
    work = train(case, count, tokens, images, part.batch, parts)
    kept = 12.0 * case.shape.parameters  # a checkpoint: weights and the optimiser's states
    turned, matrices = muon(case, parts) if part.matrix_rate else (0, 0)
    low = part.precision == "bfloat16"
    step = Work(muon=turned * low, train=turned * (not low), calls=MATRIX * matrices)
    return work + step.times(part.steps) + Work(scenes=count, spare=kept, start="model")


def muon(case: Case, parts: Any) -> tuple[float, int]:
    """FLOPs of a step of Muon, and its matrices [m, n], m <= n: five rounds of Newton-Schulz each.

    A round is X X' (2 m m n), its square (2 m m m) and a product with X (2 m m n); see Jordan et
    al. 2024, https://kellerjordan.github.io/posts/muon, and `steps.models.fit` for which matrices.
    """
    total, count = 0.0, 0
    for name, weights in case.shape.meta.named_parameters():
        if weights.ndim == 2 and "layers." in name and budget.part(name) in parts:
            m, n = sorted(weights.shape)
            total += 5 * (4.0 * m * m * n + 2.0 * m**3)
            count += 1
    return total, count


def asked(case: Case, count: int) -> float:
    """Tokens of a row: an image, and `count` questions with their answers behind it."""
    return case.shape.tokens + count * (case.talk.asked + case.talk.said)


def told(case: Case, count: int) -> float:
    """The same of a story."""
    return case.talk.told + count * (case.talk.asked + case.talk.said)


def tower(case: Case) -> Work:
    """The tower alone."""
    part = case.params.recipe.tower
    work = recipe(case, part, 0, 1, ("tower",))
    return work + Work(disk=4.0 * case.shape.sizes["tower"])


def language(case: Case) -> Work:
    """The language model alone, on stories."""
    made = case.params.recipe
    work = recipe(case, made.language, told(case, made.story_questions), 0, ("language",))
    return work + Work(disk=4.0 * case.shape.sizes["language"])


def align(case: Case) -> Work:
    """The projector, between a tower and a language model that stay as they are."""
    made = case.params.recipe
    work = recipe(case, made.align, asked(case, made.image_questions), 1, ("projector",))
    return work + Work(disk=weights(case))


def instruct(case: Case) -> Work:
    """All of it, with the second cycle of rates."""
    made = case.params.recipe
    part = made.instruct.model_copy(update={"steps": made.instruct.steps + made.practise.steps})
    work = recipe(case, part, asked(case, made.image_questions), 1, PARTS)
    return work + Work(disk=weights(case))


def tuned(case: Case) -> Work:
    """Three tunings: with the image, in words, with another image."""
    part, count = case.params.tuned, case.params.recipe.image_questions
    seen = recipe(case, part, asked(case, count), 1, PARTS)
    words = recipe(case, part, told(case, count), 0, ("language",))
    return seen.times(2) + words + Work(fixed=3 * LOADED, disk=weights(case, 3))


def trained(case: Case) -> Work:
    """Hard links to both stages."""
    return Work(start="none")


COSTS = {
    "base": base,
    "hub": base,
    "tower": tower,
    "language": language,
    "align": align,
    "instruct": instruct,
    "trained": trained,
    "tuned": tuned,
}
