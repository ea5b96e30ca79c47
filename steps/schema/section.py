"""What every section of params.yaml has in common, and the number types that they share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A section of params.yaml: no unknown keys, no silent conversions, no defaults, read-only.

    Every number is finite.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def once(values: list) -> list:
    """A list as it is; raises ValueError where a value stands in it twice."""
    if len(set(values)) < len(values):
        raise ValueError("each value at most once")
    return values


Count = Annotated[int, Field(ge=1)]
"""A whole number of at least 1."""
Whole = Annotated[int, Field(ge=0)]
"""A whole number of at least 0."""
Rate = Annotated[float, Field(gt=0, le=1)]
"""A learning rate or the like: above 0, at most 1."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A share: 0 to 1."""
Span = Annotated[list[Count], Field(min_length=2, max_length=2)]
"""Two whole numbers: least and most."""
Seeds = Annotated[list[Whole], Field(min_length=1)]
"""A list of seeds."""
