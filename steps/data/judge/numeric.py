"""Numeric: the same number, within a share of it, however it is written."""

import re

from steps.data.judge.announce import announced
from steps.data.judge.exact import NUMBERS

EXACT = 1e-6
"""Numbers that differ by less than this share are the same: what is left of writing them down."""
_PLAIN = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+"
_FRACTION = r"\\d?frac\s*{\s*(?P<a>-?[\d.]+)\s*}\s*{\s*(?P<b>[\d.]+)\s*}"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w.])-\s*)?(?:{_FRACTION}"
    rf"|(?:(?P<whole>\d+)\s+)?(?P<top>\d+)\s*/\s*(?P<bottom>\d+)"
    rf"|(?P<plain>{_PLAIN}))(?P<percent>\s*\\?%|\s*percent\b)?"
)

_SIGNS = re.compile(r"[\s$.(){}\u00b0]|\\,|\^?\\circ")


def numbers(text: str) -> list[tuple[float, bool]]:
    r"""The numbers in a text, and whether each is a percentage, in their order.

    Read are `1,000`, `-3.5`, `1e3`, `3/4`, `1 1/2`, `\frac{3}{4}`, `50%` (50, a percentage), and
    the words none to ten where they stand alone.
    """
    plain = text.replace("\u2212", "-").replace("\\,", "").replace("$", " ")
    found = []
    for match in _NUMBER.finditer(plain):
        part = match.groupdict()
        try:
            if part["a"]:
                value = float(part["a"]) / float(part["b"])
            elif part["top"]:
                value = int(part["whole"] or 0) + int(part["top"]) / int(part["bottom"])
            else:
                value = float(part["plain"].replace(",", ""))
        except (ZeroDivisionError, ValueError):
            continue
        found.append((-value if part["sign"] else value, bool(part["percent"])))
    if not found and (word := plain.strip(" .!").lower()) in NUMBERS:
        found.append((float(NUMBERS[word]), False))
    return found


def single(text: str) -> tuple[float, bool] | None:
    """The number that a data set's answer is, None where it is none or holds several."""
    told = announced(text)
    found = numbers(text if told is None else told)
    return found[0] if len(found) == 1 else None


def bare(text: str) -> bool:
    """Whether a text is one number and nothing else but its signs and degrees."""
    rest = _NUMBER.sub("", text.replace("\u2212", "-"), count=1)
    return len(numbers(text)) == 1 and not _SIGNS.sub("", rest)


def read(text: str) -> tuple[float, bool] | None:
    """The number that an answer gives: the first it announces, else the last that it names."""
    told = announced(text)
    if told is not None and (found := numbers(told)):
        return found[0]
    found = numbers(text)
    return found[-1] if found else None


def right(text: str, value: str, tolerance: float = 0.0) -> bool:
    """Whether a text gives the number `value` is, within `tolerance` as a share of it.

    A percentage is a hundredth of its number; where only one of the two is written as one, `50%`,
    both 50 and 0.5 are the same as it.
    """
    said, true = read(text), single(value)
    if said is None or true is None:
        return False
    ways = {said[0]}
    if said[1] != true[1]:
        ways.add(said[0] / 100 if said[1] else said[0] * 100)
    room = max(tolerance, EXACT) * abs(true[0])
    return any(abs(way - true[0]) <= max(room, 1e-12) for way in ways)
