"""Reads an answer word off a text: leniently, for what it says; strictly, for how it says it."""

from collections.abc import Iterable

from steps.data.questions import LEAD

_LEADS = tuple(lead.split() for lead in LEAD.values())


def lenient(text: str, choices: Iterable[str]) -> str | None:
    """The answer that `text` gives, one of `choices`, or None where it names none of them.

    It is the first choice named after the last phrase that announces an answer; where there is no
    such phrase (or nothing after it), the last choice named at all.
    """
    allowed, words = frozenset(choices), text.split()
    phrase = _phrase(words)
    announced = [w for w in words[phrase[1] :] if w in allowed] if phrase else []
    named = announced[:1] or [w for w in words if w in allowed][-1:]
    return named[0] if named else None


def rationale(text: str) -> list[str]:
    """The words before the last phrase that announces an answer.

    Where there is no such phrase, those up to the last full stop.
    """
    words = text.split()
    phrase = _phrase(words)
    stops = [i for i, word in enumerate(words) if word == "."]
    return words[: phrase[0] if phrase else max(stops, default=0)]


def _phrase(words: list[str]) -> tuple[int, int] | None:
    """Where the last phrase that announces an answer begins and ends, None without one."""
    found = [
        (i + len(lead), i)
        for lead in _LEADS
        for i in range(len(words) - len(lead) + 1)
        if words[i : i + len(lead)] == lead
    ]
    end, start = max(found, default=(0, 0))
    return (start, end) if found else None


def strict(text: str, style: str, form: str) -> str | None:
    """The answer word where `text` has exactly the form that was asked for, else None.

    word: that word alone. answer: the style's phrase and the word. rationale: at least one
    sentence, closed by a full stop, then the same.
    """
    words, lead = text.split(), LEAD[style].split()
    if form == "word":
        return words[0] if len(words) == 1 else None
    before, end = words[: -len(lead) - 1], words[-len(lead) - 1 :]
    if end[:-1] != lead or len(end) != len(lead) + 1:
        return None
    fits = before == [] if form == "answer" else len(before) > 1 and before[-1] == "."
    return end[-1] if fits else None
