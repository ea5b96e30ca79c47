"""Where in a row of somebody's data a value stands: dotted paths, and templates of them."""

import re
from typing import Any

ABSENT = object()
"""What a path gives that leads nowhere."""
MOST = 16
"""Most names that a sentence lists."""
_FIELD = re.compile(r"{{|}}|{([^{}]*)}")


def found(record: Any, path: str) -> Any:
    """The value at a path such as `image` or `conversations.0.value`, ABSENT where there is none.

    A part of a path is a key of an object, or a place in a list from 0. A key that has dots in it
    goes before.
    """
    if isinstance(record, dict) and path in record:
        return record[path]
    node = record
    for part in path.split("."):
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        else:
            return ABSENT
    return node


def value(record: Any, told: str) -> Any:
    """The value that a column names: that of a path, or a text with `{path}`s filled in.

    In such a text `{{` and `}}` stand for braces. ABSENT where a path leads nowhere.
    """
    if "{" not in told:
        return found(record, told)
    absent = False

    def fill(match: re.Match[str]) -> str:
        nonlocal absent
        if match[1] is None:
            return match[0][0]
        part = found(record, match[1])
        absent = absent or part is ABSENT or part is None
        return str(part).strip()

    text = _FIELD.sub(fill, told)
    return ABSENT if absent else text


def roots(told: str) -> list[str]:
    """The first parts of the paths that a column names: what a table's column is called."""
    paths = [m for m in _FIELD.findall(told) if m] if "{" in told else [told]
    return [path.split(".")[0] for path in paths]


def names(record: Any, above: str = "") -> list[str]:
    """The paths to everything in a row that is neither an object nor a list."""
    if isinstance(record, dict):
        parts = record.items()
    elif isinstance(record, list):
        parts = enumerate(record[:2])
    else:
        return [above]
    return [name for key, node in parts for name in names(node, f"{above}.{key}".strip("."))]


def those(record: Any) -> str:
    """What a row holds, as a sentence lists it."""
    every = names(record)
    return ", ".join(every[:MOST]) + (", ..." if len(every) > MOST else "")
