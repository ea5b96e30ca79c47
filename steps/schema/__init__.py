"""The whole of params.yaml as types. Each key's meaning is told beside it, in params.yaml."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from steps.schema.data import Data, Items, Pairs, Probes, World
from steps.schema.diffing import Atlas, Diff, Heads, Intervene, Spatial
from steps.schema.logged import Benchmark
from steps.schema.measure import (
    Classify,
    Drift,
    Extract,
    Features,
    Forget,
    Gaze,
    Localise,
    Report,
    Reuse,
    Segment,
    Sharpen,
    Swap,
    Tokens,
    Vqa,
)
from steps.schema.section import Section, Seeds
from steps.schema.training import METHODS, Dpo, Grpo, Join, Part, Recipe, Sft, Train

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
"""A name that becomes a folder: lower case, digits, underscore; it begins with a letter."""


class Study(Section):
    """The study itself. like: the study whose overlay goes before its own (overlays alone)."""

    name: Name
    title: str
    like: Name | None = None


class Base(Section):
    """A base model: where it comes from."""

    source: Literal["bundled", "train", "hub", "joined"]
    path: str | None = None
    revision: str | None = None
    tower: str | None = None
    language: str | None = None

    @property
    def diffed(self) -> bool:
        """Whether its model from before visual tuning is kept, which model diffing needs."""
        return self.source != "hub"

    @model_validator(mode="after")
    def _has_path(self) -> "Base":
        if (self.source == "hub") != (self.path is not None):
            raise ValueError(
                f"source is {self.source!r} and path {self.path!r}: `path` (a folder or a hub "
                "name) is for source hub, which needs it, and for no other"
            )
        for key in ("tower", "language"):
            if (self.source == "joined") != (getattr(self, key) is not None):
                raise ValueError(
                    f"source is {self.source!r} and {key} {getattr(self, key)!r}: `tower` and "
                    "`language` (folders) are for source joined, which needs both, and for no other"
                )
        if self.revision is not None and self.source != "hub":
            raise ValueError(
                f"source is {self.source!r} and revision {self.revision!r}: `revision` is for "
                "source hub and for no other"
            )
        return self


class Arm(Section):
    """An arm: a method, and any keys of that method's section with other values."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    method: Literal["none", "sft", "dpo", "grpo", "checkpoint"]
    seeds: Literal["all"] | Annotated[int, Field(ge=1)] = "all"

    @property
    def overrides(self) -> dict[str, Any]:
        """The keys that this arm sets otherwise than its method's section."""
        return dict(self.__pydantic_extra__ or {})


Instrument = Literal[
    "vqa",
    "sharpen",
    "tokens",
    "gaze",
    "swap",
    "forget",
    "classify",
    "segment",
    "drift",
    "localise",
    "reuse",
    "compare",
    "quality",
    "stability",
    "turned",
    "controls",
    "spatial",
    "heads",
    "intervene",
    "atlas",
]
"""What a study may measure; each is the stage of that name and what it needs before it."""


class Params(Section):
    """params.yaml, whole."""

    study: Study
    seeds: Seeds
    bases: Annotated[dict[Name, Base], Field(min_length=1)]
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    contrasts: list[Annotated[list[Name], Field(min_length=2, max_length=2)]]
    instruments: Annotated[list[Instrument], Field(min_length=1)]
    world: World
    recipe: Recipe
    join: Join
    data: Data
    items: Items
    probes: Probes
    pairs: Pairs
    train: Train
    sft: Sft
    dpo: Dpo
    grpo: Grpo
    extract: Extract
    features: Features
    classify: Classify
    segment: Segment
    vqa: Vqa
    sharpen: Sharpen
    tokens: Tokens
    gaze: Gaze
    swap: Swap
    forget: Forget
    benchmarks: dict[Name, Benchmark]
    drift: Drift
    localise: Localise
    reuse: Reuse
    diff: Diff
    tuned: Part
    spatial: Spatial
    heads: Heads
    intervene: Intervene
    atlas: Atlas
    report: Report

    def arm_section(self, arm: str) -> Section | None:
        """The section of an arm's method with the arm's overrides; None for method none.

        Raises pydantic's ValidationError where an override is unknown or out of range.
        """
        spec = self.arms[arm]
        kind = METHODS[spec.method]
        if kind is None:
            return None
        shared = getattr(self, spec.method, None)  # `checkpoint` has no section beside its arms
        return kind.model_validate((shared.model_dump() if shared else {}) | spec.overrides)


def seeds_of(params: Any, arm: str) -> list[int]:
    """The seeds that an arm runs on: all, or the first few. params: what has `arms` and `seeds`."""
    few = params.arms[arm].seeds
    return list(params.seeds if few == "all" else params.seeds[:few])
