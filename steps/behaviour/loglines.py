"""Lines of a file that lmms-eval logged, as mappings, and the fields in them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from steps.stage import StageError

LONGEST = 2**24
"""Bytes of a line; longer ones are no answers."""
WHOLE = 2**29
"""Bytes of a file of version 0.2, which is read whole."""
REMEDY = "give the file that lmms-eval wrote with --log_samples"


def lines(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The lines of a file as mappings, each with its place. Raises StageError for what is none."""
    if path.suffix == ".json":
        yield from _logs(path)
        return
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(LONGEST + 1):
            number += 1
            where = f"{path}, line {number}"
            if len(raw) > LONGEST:
                raise StageError(f"{where} is longer than {LONGEST >> 20} MiB: it is no sample")
            if raw.strip():
                yield _parsed(raw, where), where


def reached(line: dict[str, Any], name: str) -> Any:
    """The value at a field, which may lie in another, as in `doc.answers`; None if not there."""
    value: Any = line
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def named(line: dict[str, Any]) -> str:
    """The names of a line's fields, for a message."""
    names = [str(name)[:40] for name in line]
    return f"fields are {', '.join(names[:20]) or 'none'}{' ...' if len(names) > 20 else ''}"


def _parsed(raw: bytes, where: str) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        line = None
    if not isinstance(line, dict):
        raise StageError(f"{where} is no JSON object, as if cut in the middle: {REMEDY} again")
    return line


def _logs(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    if path.stat().st_size > WHOLE:
        raise StageError(f"{path} is larger than {WHOLE >> 20} MiB: give a JSONL file")
    logs = _parsed(path.read_bytes(), str(path)).get("logs")
    if not isinstance(logs, list) or not all(isinstance(line, dict) for line in logs):
        raise StageError(f"{path} has no list `logs`: {REMEDY}")
    yield from ((line, f"{path}, logs {number}") for number, line in enumerate(logs))
