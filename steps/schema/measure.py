"""The sections of the instruments and of the report."""

from typing import Annotated, Literal

from pydantic import Field

from steps.schema.section import Count, Rate, Section, Seeds, Share, Whole

Penalties = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


class Extract(Section):
    """Where the vision tower is cut."""

    layer: int
    projector: bool


class Features(Section):
    """Cached features."""

    batch: Count


class Classify(Section):
    """Linear classification probes."""

    penalties: Penalties
    select_share: Annotated[float, Field(gt=0, lt=1)]
    digits_per_class: Count
    digits_draws: Count


class Segment(Section):
    """Linear segmentation probes on patches."""

    epochs: Count
    batch: Count
    rates: Annotated[list[Rate], Field(min_length=1)]
    select_share: Annotated[float, Field(gt=0, lt=1)]


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


class Diff(Section):
    """Dictionaries over the language model's activations."""

    seeds: Seeds
    layer: int
    tokens: Count
    width: Count
    k: Count
    steps: Count
    batch: Count
    learning_rate: Rate


class Report(Section):
    """The study's page."""

    samples: Count
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    power: Annotated[Share, Field(gt=0, lt=1)]
