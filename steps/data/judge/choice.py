"""Choice: one of a few options, named by its letter or by its words."""

import re
from collections.abc import Sequence

from steps.data.judge.announce import announced
from steps.data.judge.exact import normalised

_LISTED = re.compile(r"(?:^|[\s(])\(?([A-Z])[.):]\s*(.+?)(?=\s*(?:\n|$|\s\(?[A-Z][.):]\s))")
_LETTER = re.compile(r"\(([A-Za-z])\)|(?:^|(?<=\s))([A-Z])(?=[.):,](?:\s|$))|option ([A-Z])\b")
_ALONE = re.compile(r"\W*([A-Za-z])\W*")


def listed(prompt: str) -> list[str]:
    """The options that a prompt lists under A, B, C, ... (`A. red`, `(A) red`, `A) red`).

    Empty where it lists fewer than two, or not in this order.
    """
    found = _LISTED.findall(prompt)
    letters = "".join(letter for letter, _ in found)
    start = letters.rfind("AB")
    if start < 0:
        return []
    options = []
    for k, (letter, words) in enumerate(found[start:]):
        if letter != chr(ord("A") + k):
            break
        options.append(words.strip())
    return options


def chosen(answer: object, choices: Sequence[str]) -> str | None:
    """Which of `choices` a data set's answer means: by its words, its letter or its place from 0.

    None where it means none of them.
    """
    if isinstance(answer, (bool, int)):
        return choices[int(answer)] if 0 <= int(answer) < len(choices) else None
    text = str(answer).strip()
    if text in choices:
        return text
    if (same := _same(text, choices)) is not None:
        return same
    return _lettered(text, choices, listed_as(choices))


def listed_as(choices: Sequence[str]) -> str:
    """The letters that choices go by."""
    return "".join(chr(ord("A") + k) for k in range(min(26, len(choices))))


def read(text: str, choices: Sequence[str]) -> str | None:
    """The option that a text names, one of `choices`, None where it names none.

    Read is what it announces as its answer, else all of it: first as a letter alone or an option's
    words alone; then the first letter as lists have it (`B.`, `(B)`), else the first option whose
    words stand in it where something is announced, the last one where nothing is.
    """
    told = announced(text)
    part = text if told is None else told
    letters = listed_as(choices)
    if (alone := _same(part, choices)) is not None:
        return alone
    if (lettered := _lettered(part, choices, letters)) is not None:
        return lettered
    words = f" {normalised(part)} "
    places = {c: _place(words, f" {normalised(c)} ", told is None) for c in choices}
    named = {c: at for c, at in places.items() if at >= 0}
    if not named:
        return None
    # of two that begin or end at one place, the longer says more: `dark red` beside `red`
    key = {c: (-at if told is None else at, -len(c)) for c, at in named.items()}
    return min(named, key=lambda c: key[c])


def _place(words: str, option: str, last: bool) -> int:
    if not last:
        return words.find(option)
    at = words.rfind(option)
    return at if at < 0 else at + len(option)


def _same(text: str, choices: Sequence[str]) -> str | None:
    plain = normalised(text)
    return next((c for c in choices if normalised(c) == plain), None) if plain else None


def _lettered(text: str, choices: Sequence[str], letters: str) -> str | None:
    if alone := _ALONE.fullmatch(text.strip()):
        letter = alone[1].upper()
    elif found := _LETTER.search(text):
        letter = next(group for group in found.groups() if group).upper()
    else:
        return None
    return choices[letters.index(letter)] if letter in letters else None
