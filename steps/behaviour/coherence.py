"""Coherence of rationales: whether what they state is so, and whether the answer follows from it.

SEED-Bench-R1 (2503.24376) reports that RL makes answers better and the reasoning before them less
coherent. Here a rationale is written in the world's own closed language (`evidence` in
`steps.data.questions`), so both can be read off: each statement is true or false of the scene, and
whether true or not, it allows some answers and rules out others. What cannot be read is counted.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from steps.data.language import COLUMNS, ROWS, relations
from steps.data.parse import lenient, rationale
from steps.data.questions import CHOICES
from steps.data.speech import DRAWN, NUMBERS, photographs

SINGULAR = {plural: name for name, plural in DRAWN.plural.items()} | {"objects": "object"}
_OF = ("size", *(name for s in (DRAWN, photographs()) for name in (s.adjective, s.noun)))
LOOKS = {"object", *(word for attribute in _OF for word in CHOICES[attribute])}
"""Words of a noun phrase, in the singular."""
NAMED = LOOKS - {"object"} | {*CHOICES["glyph"]}
"""What `it` can be said to be."""
JUDGED = ["statements", "unread", "true", "whole", "follows"]
"""Columns that `judged` gives."""
CELLS = {"true_right": (1, 1), "true_wrong": (1, 0), "false_right": (0, 1), "false_wrong": (0, 0)}
"""Whether the rationale is wholly true, and whether the answer is right."""


class Claim(NamedTuple):
    """A statement as read: `at` (what is where), `it` (is what), `one` (is where) or `none`.

    what: words in the singular. where: a cell as `language.place` names it.
    """

    kind: str
    what: frozenset[str] = frozenset()
    where: str = ""


def statements(text: str) -> list[list[str]]:
    """The words of each statement of an answer's rationale; full stops and commas part them."""
    found: list[list[str]] = [[]]
    for word in rationale(text):
        if word in (".", ","):
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


def claim(words: list[str]) -> Claim | None:
    """What a statement claims, None where the world's language has no such sentence."""
    match words:
        case [*said, "at", "the", row, column] if row in ROWS and column in COLUMNS:
            where = f"{row} {column}"
            match said:
                case ["the", *phrase, "is"] if phrase and singular(phrase) <= LOOKS:
                    return Claim("at", singular(phrase), where)
                case ["there", "is", "a", "letter"]:
                    return Claim("at", frozenset(["letter"]), where)
                case ["one"] | ["i", "see", "one"]:
                    return Claim("one", where=where)
        case ["it", "is", value] | ["it", "is", "a", value] if value in NAMED:
            return Claim("it", frozenset([value]))
        case ["i", "see", "none"]:
            return Claim("none")
    return None


def verdicts(claims: Sequence[Claim | None], truth: dict[str, Any]) -> list[bool | None]:
    """Whether each claim is true of a scene, None where that cannot be read.

    truth: as `items.truth` tells it. `one` and `none` are of what the question asks about; in a
    cell as many `one`s are true as there are such things. `it` is what was spoken of last, in the
    place that was said if it is there; at first it is what the question asks about.
    """
    things = [(_known(name), place) for name, place in truth["things"]]

    def fit(what: frozenset[str]) -> list[tuple[frozenset[str], str]]:
        return [thing for thing in things if what <= thing[0]]

    about = [singular(phrase.split()) for phrase in truth["about"]]
    asked = fit(about[0]) if len(about) == 1 else None  # of two, `one` could be either
    it, ones, found = asked, Counter(), []
    for said in claims:
        verdict = None
        named = fit(said.what) if said and said.kind == "at" else asked
        if said is None:
            it = None
        elif said.kind == "it":
            verdict = None if it is None else any(said.what <= words for words, _ in it)
        elif named is not None:
            there = [thing for thing in named if thing[1] == said.where]
            ones[said] += said.kind == "one"
            verdict = len(there) >= max(1, ones[said]) if said.kind != "none" else not named
            it = there or named
        found.append(verdict)
    return found


def _known(name: str) -> frozenset[str]:
    """The words that fit a thing of a scene; all but the letter are objects."""
    words = frozenset(name.split())
    return words if "letter" in words else words | {"object"}


def allowed(kind: str, claims: Sequence[Claim | None], truth: dict[str, Any]) -> set[str] | None:
    """Answers that a rationale leaves possible, be it true or not; None where it does not tell.

    A relation follows from two places, as far as they decide it (`language.relations`). A
    rationale that says two things allows both.
    """
    said = [c for c in claims if c is not None]
    ones, none = (sum(c.kind == name for c in said) for name in ("one", "none"))
    if kind == "count":
        if len(said) < len(claims) or not (ones or none):
            return None  # what was not read may have been one more
        return {*NUMBERS[ones : ones + bool(ones)], *NUMBERS[: bool(none)]}
    if kind == "existence":
        found = {"yes"} if ones else set()
        found |= {"no"} if none else set()
    elif kind == "relation":
        about = [singular(phrase.split()) for phrase in truth["about"]]
        places = [[c.where for c in said if c.kind == "at" and c.what == a] for a in about]
        found = {r for a in places[0] for b in places[1] for r in relations(a, b, truth["canvas"])}
    else:
        found = {w for c in said if c.kind == "it" for w in c.what} & set(CHOICES[kind])
    return found if found and found < set(CHOICES[kind]) else None


def singular(words: Sequence[str]) -> frozenset[str]:
    """A noun phrase's words, plurals in the singular."""
    return frozenset(SINGULAR.get(word, word) for word in words)


def judged(rows: pd.DataFrame, texts: list[str]) -> pd.DataFrame:
    """One row an answer, float columns JUDGED; NaN where no rationale about an image was wanted.

    rows: an items table; texts: what was said to each. statements, unread, true: how many. whole:
    whether all of it is true (for a count, and the list complete); NaN where there is no
    statement, or an unread one and none that is false. follows: whether the answer after the
    rationale is one that it allows; NaN where it does not tell, or there is none.
    """
    found = np.full((len(rows), len(JUDGED)), np.nan)
    for i, (row, text) in enumerate(zip(rows.itertuples(), texts, strict=True)):
        if row.form == "rationale" and row.kind != "fact":
            found[i] = _judged(row, text)
    return pd.DataFrame(found, columns=JUDGED)


def _judged(row: Any, text: str) -> tuple[float, ...]:
    truth = json.loads(row.truth)
    rest = text.split()[len(rationale(text)) :]
    answer = lenient(" ".join(rest), row.choices)  # not one that the rationale names in passing
    claims = [claim(words) for words in statements(text)]
    told = verdicts(claims, truth)
    ones = sum(c.kind == "one" for c in claims if c is not None)
    complete = row.kind != "count" or ones == NUMBERS.index(row.value)
    unclear = not told or (None in told and False not in told)
    whole = np.nan if unclear else all(told) and complete
    may = allowed(row.kind, claims, truth)
    follows = np.nan if may is None or answer is None else answer in may
    return len(told), told.count(None), told.count(True), whole, follows


def figures(scored: pd.DataFrame) -> dict[str, float]:
    """Shares over a table that has the columns JUDGED; none that there is nothing to take of.

    unread: of all statements; true: of those read. follows: of answers whose rationale tells;
    open: all others. judged: of answers, those whose rationale is known to be wholly true or not;
    true_right, true_wrong, false_right and false_wrong are shares of these, right and wrong as
    the answer is read leniently. Right answers out of false rationales are the ones to look at.
    """
    rows = scored[scored["statements"].notna()]
    told, whole = rows["follows"].dropna(), rows[rows["whole"].notna()]
    said, unread, true = (float(rows[name].sum()) for name in ("statements", "unread", "true"))
    found: dict[str, float] = {}
    if len(rows):
        found |= {"open": 1 - len(told) / len(rows), "judged": len(whole) / len(rows)}
    if said:
        found["unread"] = unread / said
    if said > unread:
        found["true"] = true / (said - unread)
    if len(told):
        found["follows"] = float(told.mean())
    for name, cell in CELLS.items() if len(whole) else ():
        found[name] = float((whole[["whole", "lenient"]] == cell).all(axis=1).mean())
    return found
