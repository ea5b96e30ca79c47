"""The sections that describe the embedded world and the data drawn from it."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from steps.schema.section import Count, Section, Share, Span, Whole


class World(Section):
    """Scenes: how large, how many objects, how hard to see."""

    canvas: Annotated[int, Field(ge=16, multiple_of=8)]
    patch: Literal[4, 8, 16, 32]
    objects: Span
    small: Span
    large: Span
    repeat: Share
    gap: Annotated[int, Field(ge=-32, le=32)]
    letter_share: Share
    noise: Annotated[float, Field(ge=0, le=255)]
    blotch: Annotated[float, Field(ge=0, le=255)]
    contrast: Annotated[float, Field(gt=0, le=1)]
    ink: Annotated[float, Field(gt=0, le=1)]
    sprites: Literal["drawn", "photos"]

    @model_validator(mode="after")
    def _fits(self) -> "World":
        if self.canvas % self.patch:
            raise ValueError(f"canvas ({self.canvas}) must be a multiple of patch ({self.patch})")
        for name in ("objects", "small", "large"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} is [{low}, {high}]: give the smaller number first")
        return self


class Items(Section):
    """Questions drawn for each seed."""

    train: Count
    stage1: Count
    tune: Count
    vqa: Count
    far: Whole
    style_b: Share
    stage1_style_b: Share
    stage1_captions: Share
    novel_share: Share


class Images(Section):
    """A folder of public data, in its own layout, to probe encoders on."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
    layout: Literal["imagefolder", "parquet", "ade20k", "voc", "masks"]
    path: str
    size: Count
    fit: Literal["crop", "squash"] = "crop"
    train: Count
    test: Count
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    broken_share: Share = 0.01

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        taken = ("classify", "digits", "photos", "shape", "category", "texture")
        taken += ("asked", "captions", "never_named")  # tiers of labels
        if "segment" in name or name in taken:
            raise ValueError("the name is one of the probes' own: take another")
        return name


class Probes(Section):
    """Labelled scenes drawn for each seed, for the probes, and images from outside."""

    classify_train: Count
    classify_test: Count
    segment_train: Count
    segment_test: Count
    photos: str
    images: list[Images]

    @field_validator("images")
    @classmethod
    def _apart(cls, images: list[Images]) -> list[Images]:
        names = [one.name for one in images]
        if len(set(names)) < len(names):
            raise ValueError(f"names are {', '.join(names)}: each set needs one of its own")
        return images


class Mix(Section):
    """Shares of the three kinds of rejected answer; they sum to 1."""

    wrong: Share
    continuation: Share
    format: Share

    @model_validator(mode="after")
    def _sums(self) -> "Mix":
        total = self.wrong + self.continuation + self.format
        if abs(total - 1) > 1e-9:
            raise ValueError(f"wrong + continuation + format is {total:g}: it must be 1")
        return self


class Pairs(Section):
    """Preference pairs: rejected answers are sampled from the base."""

    draws: Count
    temperature: Annotated[float, Field(gt=0, le=5)]
    max_tokens: Count
    batch: Count
    mix: Mix
