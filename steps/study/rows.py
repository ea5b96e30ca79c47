"""A table of the page: which metric each line shows, and how it is read."""

import re
from dataclasses import dataclass, field

PRIMARY = "vqa/lenient"
"""The metric that the headline is about."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    metric: its name; `minus` a second one taken from it, `mean_of` more to average (then `metric`
    is a name of ours). scale: what a value is multiplied by to be shown. chance: the metric that
    says what guessing gives.
    """

    metric: str
    label: str
    scale: float = 100
    minus: str | None = None
    mean_of: tuple[str, ...] = ()
    chance: str | None = None
    baselines: bool = False
    inner: bool = False


@dataclass(frozen=True)
class Group:
    """A table of the page: its rows, and how to read them."""

    title: str
    caption: str
    unit: str
    rows: list[Row] = field(default_factory=list)


def family(names: set[str], pattern: str) -> list[tuple[str, str]]:
    """Names that a pattern fits whole, and what its group found in each."""
    found = [(name, re.fullmatch(pattern, name)) for name in sorted(names)]
    return [(name, match[1]) for name, match in found if match]
