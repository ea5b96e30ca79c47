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


Reward = Annotated[
    str, StringConstraints(pattern=r"^(exact|choice|numeric|iou|open|.+\.py:[A-Za-z_]\w*)$")
]
"""What judges an answer: a built-in reward, or a function of one's own in a file."""


class Columns(Section):
    """Our names of what a row holds, and where it stands there."""

    id: str | None = None
    image: str | None = None
    prompt: str | None = None
    answer: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    choices: str | list[str] | None = None
    kind: str | None = None
    mask: str | None = None
    box: str | None = None

    @model_validator(mode="after")
    def _both(self) -> "Columns":
        if self.rejected is not None and self.chosen is None:
            raise ValueError(f"rejected is {self.rejected!r}: name the column of chosen too")
        return self


class Data(Section):
    """Where questions come from: the embedded world, or files."""

    source: Literal["world", "files"]
    path: str | None
    images: str | None
    format: Literal["auto", "llava", "jsonl", "parquet"]
    preset: Literal["llava_pretrain", "llava_onevision", "mmpr", "virl39k", "vsr"] | None
    columns: Columns
    reward: Reward | Annotated[list[Reward], Field(min_length=1)] | None
    tolerance: Share
    test_path: str | None
    test_share: Annotated[float, Field(gt=0, lt=1)]
    limit: Count | None
    max_characters: Count
    size: Annotated[int, Field(ge=16)]
    fit: Literal["crop", "squash"]
    broken_share: Share

    @property
    def paired(self) -> bool:
        """Whether files name the rejected answers, so that none are drawn."""
        named = self.columns.rejected is not None or self.preset == "mmpr"
        return self.source == "files" and named

    @model_validator(mode="after")
    def _named(self) -> "Data":
        if self.source == "files" and self.path is None:
            raise ValueError("source is 'files' and path nothing: name the file or folder to read")
        given = [self.reward] if isinstance(self.reward, str) else self.reward or []
        if len(given) > 1 and any(".py:" in name for name in given):
            raise ValueError(f"reward is {given}: a function of your own stands alone")
        return self


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
