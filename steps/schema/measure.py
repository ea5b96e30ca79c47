"""The sections of the instruments and of the report."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from steps.schema.section import Count, Rate, Section, Seeds, Share, Whole, once
from steps.schema.training import Part

Penalties = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


def _with_ridge(kinds: list[str]) -> list[str]:
    if "ridge" not in kinds or len(set(kinds)) < len(kinds):
        raise ValueError("ridge must be among them, and each at most once")
    return kinds


class Extract(Section):
    """Where the vision tower is cut."""

    layer: int
    projector: bool


class Features(Section):
    """Cached features."""

    batch: Count
    layers: list[Whole]


class Classify(Section):
    """Classification probes."""

    kinds: Annotated[
        list[Literal["ridge", "logistic", "fused", "knn"]], AfterValidator(_with_ridge)
    ]
    pca: Whole
    penalties: Penalties
    select_share: Annotated[float, Field(gt=0, lt=1)]
    digits_per_class: Count
    digits_draws: Count


class Segment(Section):
    """Segmentation probes on patches: the linear one, and the one patch by patch."""

    epochs: Count
    batch: Count
    rates: Annotated[list[Rate], Field(min_length=1)]
    select_share: Annotated[float, Field(gt=0, lt=1)]
    patch_epochs: Whole
    patch_rate: Rate
    patch_hidden: Whole


class Vqa(Section):
    """Question answering."""

    items: Literal["vqa", "tune"]
    batch: Count
    max_tokens: Count
    blind: Whole
    margin: bool


class Sharpen(Section):
    """Answers drawn, not read off greedily."""

    items: Count
    draws: Annotated[int, Field(ge=2)]
    temperature: Annotated[float, Field(gt=0, le=5)]
    max_tokens: Count
    batch: Count


class Tokens(Section):
    """Words of frozen answers, and what ties them to the image."""

    items: Count
    share: Rate
    layers: Annotated[list[Whole], Field(min_length=1)]
    batch: Count


class Gaze(Section):
    """Attention of single heads, and interventions on it."""

    seeds: Seeds
    items: Annotated[int, Field(ge=2)]
    share: Rate
    layers: Annotated[list[Whole], Field(min_length=1)]
    masked: Annotated[float, Field(gt=0, le=0.5)]
    draws: Count
    kept: Annotated[list[Rate], Field(min_length=1)]
    batch: Count


class Drift(Section):
    """The tower beside the base's, or another arm's, layer by layer."""

    reference: str
    images: Annotated[int, Field(ge=4)]
    batch: Count
    k: Annotated[list[Count], Field(min_length=1)]
    bootstrap: Count


class Localise(Section):
    """Maps of gradients, and Grad-CAM, against true masks."""

    items: Annotated[int, Field(ge=2)]
    batch: Count


def _free(encoders: dict[str, str]) -> dict[str, str]:
    if taken := {"original", "random", "pixels", "chance"} & set(encoders):
        raise ValueError(f"the name {min(taken)} is one of the page's own: take another")
    return encoders


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
"""The name of an encoder: a column of the page."""


class Reuse(Section):
    """Encoders in a fresh language model."""

    tower: Literal["frozen", "trained"]
    encoders: Annotated[dict[Name, str], AfterValidator(_free)]
    align: Part
    instruct: Part
    items: Count
    blind: Whole
    batch: Count
    max_tokens: Count


class Swap(Section):
    """The base's parts and an arm's put together in every way."""

    items: Count
    batch: Count
    max_tokens: Count
    margin: bool
    merges: Annotated[list[Share], AfterValidator(once)]


class Forget(Section):
    """The model asked to name what its encoder can classify."""

    images: Count
    batch: Count
    max_tokens: Count


class Report(Section):
    """The study's page."""

    samples: Count
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    power: Annotated[Share, Field(gt=0, lt=1)]
