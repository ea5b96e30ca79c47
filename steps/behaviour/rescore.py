"""How an answer to a benchmark is judged: leniently, for what it says; strictly, for its form too.

Thinking that an answer begins with (`<think>`) is no part of it. What is read is `steps.data.judge`
throughout; here is which of its judges a line needs.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from steps.behaviour.samples import Sample, thoughtless
from steps.data.judge import anls, choice, numeric, people, yes_no
from steps.data.judge.announce import announced, kept
from steps.data.judge.exact import normalised
from steps.data.judge.judge import Judge
from steps.stage import StageError

_CUE = re.compile(r"\banswer(?: is)?\s*:?\s*$", re.IGNORECASE)
"""A prompt's end that is to be gone on from: no form that it asks for."""
_LETTER = re.compile(r"\W*[A-Za-z]\W*")
_LED = re.compile(r"\s*\(?[A-Z][.):]+\s*")


class Scored(NamedTuple):
    """Scores from 0 to 1, whether the answer has the form asked for, and what was read as it."""

    strict: float
    lenient: float
    well_formed: bool
    answer: str | None


class Asked(NamedTuple):
    """A question as `Judge` takes one."""

    prompt: str
    value: str
    choices: Sequence[str]
    reward: str


def scored(kind: str, sample: Sample, tolerance: float) -> Scored:
    """One answer judged; kind: one of KINDS. Raises StageError where the true answer cannot be."""
    prompt = _CUE.sub("", sample.prompt)
    own = sample._replace(prompt=prompt, said=thoughtless(sample.said))
    return KINDS[kind](own, tolerance)


def yes_or_no(sample: Sample, _: float) -> Scored:
    """Yes or no."""
    value = sample.answers[0].strip().rstrip(".").lower()
    if value not in yes_no.VALUES:
        raise StageError(
            f"{sample.where}: the true answer {_short(value)} is neither yes nor no: this is "
            "another task's file, or needs another score than yes_no"
        )
    said = yes_no.read(sample.said)
    part = kept(sample.said, sample.prompt)
    formed = part is not None and yes_no.bare(part)
    right = float(said == value)
    return Scored(right * formed, right, formed, said)


def one_of(sample: Sample, _: float) -> Scored:
    """One of the options that the prompt lists; where it lists none, a number or the same words."""
    listed, value = choice.listed(sample.prompt), sample.answers[0].strip()
    options = apart(listed)
    if not options and re.fullmatch(r"\(?[A-Z]\)?\.?", value):
        raise StageError(
            f"{sample.where}: the true answer is {value}, and the prompt lists no options "
            "(A. ..., B. ...): give score exact, or log the prompt"
        )
    if not options:
        return relative(sample, 0.0)
    meant = choice.chosen(value, options)
    if meant is None:
        raise StageError(
            f"{sample.where}: the true answer {_short(value)} is none of the {len(options)} "
            "options of the prompt: this is another task's file, or needs another score than choice"
        )
    said, part = choice.read(sample.said, options), kept(sample.said, sample.prompt)
    formed = part is not None and bare(part, listed)
    strict = formed and part is not None and choice.read(part, options) == meant
    return Scored(float(strict), float(said == meant), formed, said)


def bare(text: str, options: Sequence[str]) -> bool:
    """Whether a text is an option's letter, its words, or both, and nothing else."""
    words = normalised(_LED.sub("", text, count=1))
    alone = _LETTER.fullmatch(text) is not None
    return alone or (bool(words) and words in {normalised(option) for option in options})


def apart(options: Sequence[str]) -> list[str]:
    """Options that only their letters tell apart, numbered so that their words never count.

    They are those that stand twice (MMMU lists pictures as `<image>`) and single letters, which
    are other options' own.
    """
    plain = [normalised(option) for option in options]
    return [
        f"{option} #{k}" if plain.count(same) > 1 or len(same) == 1 and same.isalpha() else option
        for k, (option, same) in enumerate(zip(options, plain, strict=True), 1)
    ]


def exactly(sample: Sample, _: float) -> Scored:
    """The words of one of the true answers."""
    return _judged(sample, "exact", sample.answers)


def relative(sample: Sample, tolerance: float) -> Scored:
    """The number that one of the true answers is, within a share of it; else their words."""
    numbers = [value for value in sample.answers if numeric.bare(value)]
    if not numbers:
        return exactly(sample, tolerance)
    return _judged(sample, "numeric", numbers, tolerance=tolerance)


def nearly(sample: Sample, _: float) -> Scored:
    """How near the letters are to one of the true answers."""
    told = announced(sample.said)
    ways = [sample.said, *([] if told is None else [told])]
    formed = _judged(sample, "exact", [max(sample.answers, key=len)]).well_formed
    scores = [anls.score(way, sample.answers) for way in ways]
    near, best = max(zip(scores, ways, strict=True), key=lambda pair: pair[0])
    return Scored(near * formed, near, formed, best.strip() or None)


def by_people(sample: Sample, _: float) -> Scored:
    """As right as people agree."""
    if len(sample.answers) < people.LEAST:
        raise StageError(
            f"{sample.where}: score vqa needs the answers of ten people, here are "
            f"{len(sample.answers)}: give benchmarks' `target` their field, or score exact"
        )
    said, score = people.read(sample.said, sample.answers)
    formed = _judged(sample, "exact", [max(sample.answers, key=len)]).well_formed
    return Scored(score * formed, score, formed, said or None)


KINDS: dict[str, Callable[[Sample, float], Scored]] = {
    "yes_no": yes_or_no,
    "choice": one_of,
    "exact": exactly,
    "numeric": relative,
    "anls": nearly,
    "vqa": by_people,
}
"""How each `score` of params.yaml's section `benchmarks` judges."""


def _judged(
    sample: Sample,
    reward: str,
    values: Sequence[str],
    tolerance: float = 0.0,
) -> Scored:
    """By one of the rewards; of several true answers the one that the text comes nearest to."""
    judge = Judge()
    judge.tolerance = tolerance
    best: Scored | None = None
    for value in values:
        row = Asked(sample.prompt, value, (), reward)
        formed, strict = judge.strict(row, sample.said)
        lenient = float(judge.scores([row], [sample.said])[0])
        if best is None or (lenient, strict, formed) > (best.lenient, best.strict, best[2]):
            best = Scored(strict, lenient, formed, judge.read(row, sample.said))
    assert best is not None
    return best


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")
