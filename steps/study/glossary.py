"""Every metric that a stage can give: what it is called, its unit, and what it means.

Each wing declares its stages' metrics in its `metrics.py` (rooms of `diff` in theirs): patterns of
names, each with "unit: meaning". `{a,b}` in a pattern stands for any of these, as in claims, and
`<place>` for what PLACES says. These files import nothing heavy, and no stage but the report reads
them: another wording runs nothing else again.

`docs/metrics.md` is `page()`, and claims that name what is not declared here are refused.
"""

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import cache
from itertools import product

from steps.behaviour import metrics as behaviour
from steps.data import metrics as data
from steps.diff import metrics as diff
from steps.encoder import metrics as encoder
from steps.models import metrics as models
from steps.posttrain import metrics as posttrain
from steps.stage import STAGES
from steps.study import metrics as study

WINGS = (data, models, posttrain, encoder, behaviour, diff, study)
COMMAND = "python -m steps.study.glossary > docs/metrics.md"
UNITS = {
    "share": "0 to 1, or a difference of such; the page and claims show it times 100, in points",
    "nats": "log-probability, log-odds or divergence, by the natural logarithm",
    "count": "how many",
    "operations": "floating-point operations",
    "ratio": "one amount over another of its kind",
    "correlation": "-1 to 1; a cosine too",
    "degrees": "an angle",
    "p": "a p-value",
    "number": "anything else, as its meaning says",
}
_NUMBER = r"[0-9.]+(?:e-?[0-9]+)?"
PLACES = {
    "arm": (r"[^/]+", "an arm of the study"),
    "axis": (r"horizontal|vertical", "left against right, above against below"),
    "base": (r"[^/]+", "a base of the study"),
    "became": (
        r"emerge|vanish|reorient|reuse|keep|unsettled|dead",
        "what became of a feature: emerge, vanish, reorient, reuse, keep, unsettled or dead",
    ),
    "benchmark": (r"[^/]+", "a name under `benchmarks`"),
    "case": (
        r"(?:tenth|harder|nothing)(?:_new)?|early|undertrained",
        "planted turns: tenth, harder or nothing, each also `_new`; early, undertrained",
    ),
    "class": (r".+", "a class of maps: a shape, a texture, or one of the data's own"),
    "dictionary": (r"S|S2|D|D2|M|M2|DF|MF|F2", "S, S2, D, D2, M, M2, DF, MF or F2"),
    "encoder": (r"[a-z][a-z0-9_]*", "`original`, or a name under `reuse.encoders`"),
    "kind": (r".+", "a kind of question: color, count, ..., or one of the data's own"),
    "label": (r"[^/]+", "a label of images: shape, color, count, ..."),
    "layer": (r"layer[0-9]+|proj", "`layer0`, `layer1`, ...; of encoders `proj`, the projector's"),
    "map": (r"[^/]+", "a kind of maps: shape, texture, or one of the data's own"),
    "n": (r"[0-9]+", "a whole number"),
    "order": (r"SD|SM|x|y", "an arrow: SD, SM, x (D to DF) or y (M to MF)"),
    "parts": (r"[01]{3}", "tower, projector, language model: 0 the base's, 1 the arm's"),
    "place": (r"(?:proj/|layer[0-9]+/)?", "nothing: what the projector reads; `proj/`; `layer0/`"),
    "relation": (r"left|right|above|below", "left, right, above or below"),
    "rule": (r"beyond|matched|paired", "beyond, matched or paired"),
    "set": (
        r"(?!(?:classify|segment|digits|photos)\b)[a-z][a-z0-9_]*",
        "a set of probes.images; one with maps ends in `_segment`",
    ),
    "share": (_NUMBER, "a share, as the study's params give it"),
    "site": (
        r"\{site\}|(?:residual|heads|mlp)\.[0-9]+",
        "where a dictionary reads: residual.2, ...; `{site}` in claims: the mean over all",
    ),
    "tier": (r"(?!digits/)[^/]+", "how labels were told in training: asked, captions, never_named"),
    "tokens": (r"all|image|question|answer|told", "all, image, question, answer or told"),
    "view": (
        r"(?:pca/)?(?:proj/|layer[0-9]+/)?",
        "as `<place>`, and each of these behind `pca/`: in a view of fixed width",
    ),
}
"""What may stand for a `<place>` in a pattern, as a regular expression and in words."""


@cache
def declared() -> dict[str, dict[str, str]]:
    """By stage, in the order of STAGES, its metrics: pattern and "unit: meaning"."""
    every = {stage: metrics for wing in WINGS for stage, metrics in wing.METRICS.items()}
    return {stage: every[stage] for stage in STAGES if stage in every}


def spread(text: str) -> list[str]:
    """`a/{b,c}/d` as a/b/d and a/c/d; `{site}` stays."""
    parts = re.split(r"\{([^{}]*,[^{}]*)\}", text)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(some) for some in product(*choices)]


def fitting(name: str) -> Iterator[tuple[str, str]]:
    """The stages whose declarations a metric's name fits, each with the pattern."""
    for begins, stage, pattern in _patterns():
        if name.startswith(begins) and _shape(pattern).fullmatch(name):
            yield stage, pattern


def known(name: str) -> bool:
    """Whether a metric of this name, with `{site}` for any site or without, is declared."""
    return next(fitting(name), None) is not None


def nearest(name: str) -> str:
    """The declared name that is most like one that is not, its places filled from it.

    It has most parts in common with it, then most letters.
    """
    every = {_filled(one, name) for _, _, pattern in _patterns() for one in spread(pattern)}
    most = max(common for common, _ in every)
    some = sorted(one for common, one in every if common == most)
    return max(some, key=lambda one: SequenceMatcher(None, one, name, False).ratio())


@cache
def _patterns() -> list[tuple[str, str, str]]:
    """What every name of a pattern begins with, the stage, and the pattern."""
    return [
        (re.split("[{<]", pattern, maxsplit=1)[0], stage, pattern)
        for stage, metrics in declared().items()
        for pattern in metrics
    ]


@cache
def _shape(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression."""
    return re.compile("|".join(map(_one, spread(pattern))))


def _one(pattern: str) -> str:
    """The same without `{}`."""
    parts = re.split(r"<(\w+)>", pattern)
    return "".join(f"(?:{PLACES[p][0]})" if i % 2 else re.escape(p) for i, p in enumerate(parts))


def _filled(pattern: str, name: str) -> tuple[int, str]:
    """A pattern without `{}`, what it leaves open taken from the same part of a name.

    Before it, how many parts the two have in common; one that any word would fit is none.
    """
    begins = re.match(PLACES["view"][0], name)
    words = re.sub("<(?:view|place)>", begins[0] if begins else "", pattern).split("/")
    common, others = 0, name.split("/")
    for i, (word, other) in enumerate(zip(words, others, strict=False)):
        if word == other or "<" in word and _shape(word).fullmatch(other):
            words[i] = other
            common += word == other or not _shape(word).fullmatch("?")
    return common, "/".join(words)


def page() -> str:
    """docs/metrics.md: what names are made of, units, and a table for each stage."""
    lines = [
        "# Metrics",
        "",
        "<!-- Generated from steps/*/metrics.py by `" + COMMAND + "`; do not edit. -->",
        "",
        "Every number that a stage leaves in its `metrics.json`, by its name there. "
        "`{a,b}` stands for either, and for nothing where nothing stands before the comma; what "
        "stands in angle brackets differs from study to study. Claims "
        "([docs/claims.md](claims.md)) may name any of them.",
        "",
        *_table("in a name", "stands for", {f"`<{n}>`": told for n, (_, told) in PLACES.items()}),
        *_table("unit", "is", UNITS),
    ]
    shown: list[tuple[list[str], dict[str, str]]] = []
    for stage, metrics in declared().items():
        same = [stages for stages, other in shown if other is metrics]
        same[0].append(stage) if same else shown.append(([stage], metrics))
    for stages, metrics in shown:
        lines += [
            f"## {', '.join(stages)}",
            "",
            "| metric | unit | meaning |",
            "| --- | --- | --- |",
        ]
        for pattern, told in metrics.items():
            unit, _, meaning = told.partition(": ")
            lines.append(f"| `{pattern}` | {unit} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def _table(one: str, other: str, rows: dict[str, str]) -> list[str]:
    head = [f"| {one} | {other} |", "| --- | --- |"]
    return [*head, *(f"| {name} | {told} |" for name, told in rows.items()), ""]


if __name__ == "__main__":
    print(page(), end="")
