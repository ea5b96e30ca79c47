"""The section `benchmarks`: answers that lmms-eval logged, and how they are judged."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from steps.schema.section import Section, Share

Score = Literal["yes_no", "choice", "exact", "numeric", "anls", "vqa"]


class Benchmark(Section):
    """One benchmark: where its files are, and how an answer is judged."""

    path: Annotated[str, Field(min_length=1)]
    score: Score
    required: bool = True
    target: str | None = None
    metric: str | None = None
    answers: str | None = None
    tolerance: Share = 0.05


def levels(params: Any) -> Iterator[str]:
    """One sentence for each entry whose path would give several models one file."""
    for name, entry in params.benchmarks.items():
        wanted = {"arm": len(params.arms), "base": len(params.bases), "seed": len(params.seeds)}
        for level, count in wanted.items():
            if count > 1 and f"{{{level}}}" not in entry.path:
                yield (
                    f"benchmarks.{name}.path = {entry.path!r}: write {{{level}}} in it, because "
                    f"the study has {count} {level}s, each with answers of its own"
                )
