"""The published statements as typed checks: workflow/claims/*.yaml, one file a paper.

A claim needs no code: its effect is a sum of metrics of arms, `dpo:vqa/lenient - sft:vqa/lenient`,
formed within each unit (a seed of a base) and judged over units. Without an arm, `:compare/x`, a
metric is the base's own; a number stands for itself. `{a,b}` is the mean over alternatives and
`{site}` that over the study's sites.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from steps.params import ParamsError, read_yaml
from steps.schema.errors import sentence
from steps.schema.section import Section
from steps.study import glossary

FOLDER = Path("workflow/claims")
PRIMARY = 5
"""Most primary claims of a paper."""
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_TERM = re.compile(r"(?:([0-9.]+)\*)?([A-Za-z0-9_-]*):(\S+)")


@dataclass(frozen=True)
class Term:
    """`weight` times the mean of some metrics of an arm (None: of the base); alone without any."""

    weight: float
    arm: str | None
    metrics: tuple[str, ...]


def parsed(effect: str) -> list[Term]:
    """The terms of an effect. Raises ValueError that says what is wrong."""
    words, terms, sign = effect.split(), [], 1.0
    for place, word in enumerate(words):
        if place % 2:
            if word not in "+-":
                raise ValueError(f"{effect!r}: between two terms stand + or -, not {word!r}")
            sign = 1.0 if word == "+" else -1.0
            continue
        if _NUMBER.fullmatch(word):
            terms.append(Term(sign * float(word), None, ()))
            continue
        found = _TERM.fullmatch(word)
        if not found:
            raise ValueError(f"{effect!r}: {word!r} is no arm:metric, as in dpo:vqa/lenient")
        weight, arm, metric = found.groups()
        terms.append(Term(sign * float(weight or 1), arm or None, tuple(glossary.spread(metric))))
    if not terms or len(words) % 2 == 0:
        raise ValueError(f"{effect!r}: give arm:metric, and others behind + or -")
    return terms


Effect = Annotated[str, Field(min_length=3)]


class Claim(Section):
    """One published statement.

    says: in our words. source: where it stands. published: what was found, in the paper's unit.
    effect, sign: what is measured here, and the sign that was published (0: no difference).
    interest: the smallest effect that would matter, in points, or as it is where `unit` is raw.
    primary: decided with the paper's other primary claims; others are described. controls: effects
    that could explain it, by name. sees: effects that are known to be there, by name, all of which
    must be seen before anything is denied. why_not: what makes the claim not testable here,
    whatever is run.
    """

    says: Annotated[str, Field(min_length=10)]
    source: Annotated[str, Field(min_length=2)]
    published: str
    effect: Effect | None = None
    sign: Literal[-1, 0, 1] = 1
    interest: Annotated[float, Field(gt=0)] = 1.0
    unit: Literal["points", "raw"] = "points"
    primary: bool = False
    controls: dict[str, Effect] = {}
    sees: dict[str, Effect] = {}
    why_not: str | None = None

    @field_validator("effect")
    @classmethod
    def _reads(cls, effect: str | None) -> str | None:
        if effect:
            parsed(effect)
        return effect

    @field_validator("controls", "sees")
    @classmethod
    def _read(cls, named: dict[str, str]) -> dict[str, str]:
        for effect in named.values():
            parsed(effect)
        return named


class Paper(Section):
    """A paper, the arms that its claims speak of, and these by their number."""

    name: str
    source: str
    arms: list[str]
    claims: dict[str, Claim]


def files(folder: Path = FOLDER) -> list[str]:
    """The files with the claims that the report judges."""
    return sorted(map(str, folder.glob("*.yaml")))


def read(folder: Path = FOLDER) -> dict[str, Paper]:
    """Every paper by its file's name. Raises ParamsError that names file, claim and what is wrong.

    Wrong is also a metric that no stage declares, an arm that the file does not list, and more than
    PRIMARY primary claims of a paper.
    """
    papers = {}
    for path in map(Path, files(folder)):
        try:
            paper = Paper.model_validate(read_yaml(path))
        except ValidationError as error:
            raise ParamsError(f"{path}: {sentence(error, Paper)}") from None
        _checked(path, paper)
        papers[path.stem] = paper
    return papers


def _checked(path: Path, paper: Paper) -> None:
    for number, claim in paper.claims.items():
        if (claim.effect is None) == (claim.why_not is None):
            raise ParamsError(f"{path}: {number}: give either effect or why_not")
        for effect in (claim.effect, *claim.sees.values(), *claim.controls.values()):
            for term in parsed(effect) if effect else ():
                if term.arm is not None and term.arm not in paper.arms:
                    raise ParamsError(
                        f"{path}: {number}: {term.arm!r} is none of the file's arms, which are "
                        f"{', '.join(paper.arms)}: add it there, or spell it as there"
                    )
                for metric in term.metrics:
                    if not glossary.known(metric):
                        raise ParamsError(
                            f"{path}: {number}: no stage measures {metric}: the nearest that one "
                            f"does is {glossary.nearest(metric)}; docs/metrics.md lists all"
                        )
    primary = [number for number, claim in paper.claims.items() if claim.primary]
    if len(primary) > PRIMARY:
        raise ParamsError(f"{path}: {len(primary)} primary claims; decide on at most {PRIMARY}")
