"""What is measured of each statement about model diffing, beside what it has to be held against.

Statements are those of stage-wise model diffing of a VLM (2602.08713) and of its parent method
(transformer-circuits.pub/2024/model-diffing), numbered as this project numbers them. What follows
from the figures is not said here.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STATEMENTS = {
    "C1": "dictionaries that start warm fit activations with images better",
    "C2": "as it was, the language model's dictionary fails on the tuned model's activations",
    "C3": "visual tuning turns more features than chance does",
    "C4": "what turns, turns for seeing and not for being tuned",
    "C5": "features that turn in both orders are those of what is seen",
    "C6": "both orders end in the same dictionary",
    "C7": "features behind the image prefer it to the scene in words",
    "C8": "features turn or are put to use rather than emerge",
    "C9": "what told relations in words tells them in images",
    "C10": "a selective few features tell a relation",
    "C11": "they follow the image, not the words",
    "C12": "they track what is true, not what is said",
    "C13": "features that turned are more often spatial than others",
    "C14": "taking a spatial feature away hurts its relation alone",
    "C15": "adding it raises its relation, dose by dose",
    "C16": "one feature is not enough, a small group is",
    "C17": "a few heads in the middle drive spatial features",
    "C18": "attribution finds the heads that exact patching finds",
    "C19": "those heads look at the objects and write the features",
    "C20": "the heads themselves changed in tuning",
    "C21": "spatial features appear as the model learns to see",
    "C22": "a feature's direction matters less in the model before tuning",
    "C23": "plain differences of activations do not do as well",
    "C24": "another seed finds the same features",
}
UNMEASURED = {
    "C11": "no figure: too few features for left and right were found to tell",
    "C21": "not measured: no model from the middle of visual tuning is kept",
    "C24": "not measured: model diffing ran on one seed",
}
"""Why a statement has no figure, where it has none although its instruments ran."""
SITE = r"(?:residual|heads|mlp)\.\d+"


@dataclass(frozen=True)
class Line:
    """A figure's pattern: a regular expression of metrics, its label and factor, and its rival.

    metric: {site} stands for a place in the model; groups go into label and beside as {0}, {1}.
    beside: the metric that it is to be held against, called `against`; empty for none.
    """

    statement: str
    label: str
    metric: str
    scale: float
    beside: str
    against: str


@dataclass(frozen=True)
class Told:
    """A figure that there is: `metric`, with what stands beside it, at a site (empty for none)."""

    line: Line
    label: str
    site: str
    metric: str
    beside: str


@cache
def lines() -> tuple[Line, ...]:
    """All patterns, in the page's order, from lines.csv."""
    with open(Path(__file__).with_name("lines.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return tuple(Line(**row | {"scale": float(row["scale"])}) for row in rows)


def told(names: Iterable[str]) -> list[Told]:
    """The figures that metrics of these names give, pattern by pattern, in the names' order."""
    names, found = sorted(names), []
    for line in lines():
        pattern = re.compile(line.metric.replace("{site}", f"({SITE})"))
        at = "{site}" in line.metric
        for name in names:
            if hit := pattern.fullmatch(name):
                site, parts = (hit[1], hit.groups()[1:]) if at else ("", hit.groups())
                beside = line.beside.format(*parts, site=site)
                found.append(Told(line, line.label.format(*parts), site, name, beside))
    return found
