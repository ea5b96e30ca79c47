"""Iou: the box in an answer lies on the true one: they share at least half of what they cover.

Half is what counts as found in referring expressions (Yu et al. 2016, 1608.00272).
"""

import re

ENOUGH = 0.5
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?|-?\.\d+")
_LIST = re.compile(r"[\[(<{][^\[\](){}<>]*[\])>}]")


def box(text: str) -> tuple[float, ...] | None:
    """The last four numbers within brackets, else the last four of a text: a box, or None.

    They are left, top, right, bottom as shares of the image's sides, or in thousandths of them
    where one is above 1 (as Qwen2-VL, Qwen3-VL and InternVL write boxes). Pixels cannot be read:
    a model does not know how large its image was.
    """
    for part in [*reversed(_LIST.findall(text)), text]:
        found = [float(n) for n in _NUMBER.findall(part)]
        if len(found) >= 4:
            four = found[-4:]
            return tuple(n / 1000 if max(four) > 1 else n for n in four)
    return None


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom); 0 where one is empty."""

    def area(b: tuple[float, ...]) -> float:
        return max(0.0, b[2] - b[0]) * max(0.0, b[3] - b[1])

    ends = [*map(max, one[:2], other[:2]), *map(min, one[2:], other[2:])]
    shared = area(tuple(ends))
    total = area(one) + area(other) - shared
    return shared / total if area(one) and area(other) else 0.0


def right(text: str, value: str) -> bool:
    """Whether the box in a text lies on the box in `value`, by at least ENOUGH."""
    said, true = box(text), box(value)
    return said is not None and true is not None and overlap(said, true) >= ENOUGH
