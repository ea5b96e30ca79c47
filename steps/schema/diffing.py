"""Sections of params.yaml for model diffing."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from steps.schema.section import Count, Rate, Section, Seeds, Share, Whole, once

Site = Annotated[str, StringConstraints(pattern=r"^(residual|heads|mlp)\.[0-9]+$")]
"""A place in the language model: what a layer gives, what its heads hand over, its MLP's output."""


class Diff(Section):
    """Dictionaries over the language model's activations."""

    seeds: Seeds
    layers: Annotated[list[Whole], Field(min_length=1), AfterValidator(once)]
    sites: Annotated[
        list[Literal["residual", "heads", "mlp"]], Field(min_length=1), AfterValidator(once)
    ]
    tokens: Count
    store: bool
    on: Literal["all", "image", "text"]
    kind: Literal["topk", "batchtopk"]
    start: dict[Site, str]
    width: Count
    k: Count
    steps: Count
    batch: Count
    learning_rate: Rate


class Spatial(Section):
    """Features that tell where one object lies relative to another."""

    scenes: Annotated[int, Field(ge=8)]
    permutations: Count
    high: Share
    low: Share
    alpha: Rate
    batch: Count


class Heads(Section):
    """Heads that drive features: attribution, exact patching, swaps."""

    scenes: Annotated[int, Field(ge=48)]
    features: Count
    exact: Count
    random: Whole
    few: Annotated[float, Field(gt=0, le=0.5)]
    batch: Count


class Intervene(Section):
    """Features taken away and added, beside matched foils."""

    scenes: Annotated[int, Field(ge=80)]
    items: Count
    features: Count
    foils: Count
    doses: Annotated[list[float], Field(min_length=1)]
    groups: Annotated[list[Count], Field(min_length=1), AfterValidator(once)]
    batch: Count


class Atlas(Section):
    """Pages of features."""

    features: Annotated[int, Field(ge=4)]
    scenes: Count
    items: Count
