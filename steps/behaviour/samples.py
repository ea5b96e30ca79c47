"""The lines of lmms-eval's logged samples: what was asked, what was said, what would be right.

Written by `--log_samples`. Of version 0.2 one JSON file a task with its lines under `logs`; since
0.3 JSONL, `<date>_samples_<task>.jsonl`; since 0.4 without `doc`, and without `resps` where no
filter changed them; since 0.7 answers stand bare, not in lists. `doc_hash` tells no questions
apart: no version gives it a question to hash.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from steps.behaviour.loglines import REMEDY, lines, named, reached
from steps.stage import StageError

SAID = ("resps", "filtered_resps")
"""Fields with what was said: before a task's filters, and after them."""
OWN = {"doc_id", "doc", "target", "arguments", "input", *SAID, "doc_hash", "prompt_hash"}
OWN |= {"target_hash", "token_counts", "input_media", "submission"}
"""Fields of a line that are no score of lmms-eval's."""
RIGHT = ("score", "is_correct", "true_false", "correct", "anls")
"""Keys of a score that is a mapping: the first that is there counts."""
_THOUGHT = re.compile(r"\s*<think>.*?(?:</think>|\Z)", re.DOTALL)


class Sample(NamedTuple):
    """One question: its number in the task, its prompt, what was said, what is right, their score.

    answers: one for each true answer, or each person asked. theirs: lmms-eval's own score, None
    where the line has none. where: file and line, for messages.
    """

    item: str
    prompt: str
    said: str
    answers: list[str]
    theirs: float | None
    where: str


def samples(path: Path, entry: Any) -> Iterator[Sample]:
    """The samples of a file, one at a time; entry: of params.yaml's section `benchmarks`.

    Raises StageError with one sentence for a line that is cut or lacks a field, for a question that
    stands twice, and for a file without any.
    """
    keys = _keys(Path(entry.answers)) if entry.answers else None
    seen: set[str] = set()
    for line, where in lines(path):
        item = str(_field(line, "doc_id", where))
        if item in seen:
            raise StageError(
                f"{where}: doc_id {item} stands twice: two runs in one file, or a task with "
                "several filters; keep one answer to each question"
            )
        seen.add(item)
        known = line
        if keys is not None:
            if item not in keys:
                raise StageError(f"{where}: {entry.answers} has no doc_id {item}: add it there")
            known = keys[item]
        default = "target" if keys is None else "answers"
        if entry.score == "vqa" and keys is None:
            default = "doc.answers"
        told = _field(known, entry.target or default, where)
        answers, own = truths(told, where), theirs(line, entry.metric)
        yield Sample(item, prompt(line), clean(said(line, where)), answers, own, where)
    if not seen:
        raise StageError(f"{path} holds no samples: run lmms-eval with --log_samples again")


def prompt(line: dict[str, Any]) -> str:
    """What the model was asked, without its chat template; empty where the line does not tell."""
    told = line.get("input", line.get("arguments"))
    while isinstance(told, (list, tuple)) and told:
        told = told[0]
    return clean(told) if isinstance(told, str) else ""


def said(line: dict[str, Any], where: str) -> str:
    """What the model said: before a task's filters, where the line tells it."""
    name = next((name for name in SAID if name in line), None)
    if name is None:
        raise StageError(f"{where}: there is no {' or '.join(SAID)} ({named(line)}): {REMEDY}")
    value = line[name]
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return value
    if not value:
        raise StageError(f"{where}: {name} is empty: the model was not asked; run lmms-eval again")
    count = len(value) if isinstance(value, list) else type(value).__name__
    raise StageError(
        f"{where}: {name} holds {count} answers: only one answer a question, in words "
        "(output_type generate_until, no repeats), can be judged"
    )


def thoughtless(text: str) -> str:
    """A text without the thinking that it begins with, up to `</think>` or, cut off, its end."""
    found = _THOUGHT.match(text)
    return text[found.end() :] if found else text


def truths(told: Any, where: str) -> list[str]:
    """The true answers in a field: itself, each of a list, or of a list that became a text."""
    if isinstance(told, str) and told.startswith("["):
        try:
            parsed = ast.literal_eval(told)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            parsed = None
        told = parsed if isinstance(parsed, list) else told
    every = told if isinstance(told, list) else [told]
    found = [one.get("answer") if isinstance(one, dict) else one for one in every]
    if not found or any(one in (None, "") or isinstance(one, (list, dict)) for one in found):
        raise StageError(
            f"{where}: the true answer is {str(told)[:60]!r}: give benchmarks' `target` another "
            "field, or a split whose answers are public"
        )
    return [clean(str(one)) for one in found]


def theirs(line: dict[str, Any], metric: str | None) -> float | None:
    """The score of lmms-eval's own, None where there is none; metric: its field, as in `a.score`.

    Without a metric it is the first field that is a number, or a mapping with one of RIGHT.
    """
    if metric is not None:
        return _number(reached(line, metric))
    for name, value in line.items():
        if name not in OWN and (found := _number(value)) is not None:
            return found
    return None


def clean(text: str) -> str:
    """A text that can be written: halves of characters are replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _number(value: Any) -> float | None:
    if isinstance(value, dict):
        value = next((value[name] for name in RIGHT if name in value), None)
    if isinstance(value, (bool, int, float)) and abs(value) <= 1e6:  # neither nan nor infinite
        return float(value)
    return None


def _field(line: dict[str, Any], name: str, where: str) -> Any:
    """The value at a field that has to be there."""
    value = reached(line, name)
    if value is not None:
        return value
    lacks = f"{where}: there is no {name} ({named(line)})"
    if name == "doc_id":
        raise StageError(f"{lacks}: {REMEDY}")
    if name.startswith("doc."):
        lacks += "; lmms-eval leaves doc out since 0.4, `answers` may name a file with it"
    raise StageError(f"{lacks}: give benchmarks' `target` the field with the true answer")


def _keys(path: Path) -> dict[str, dict[str, Any]]:
    return {str(_field(line, "doc_id", where)): line for line, where in lines(path)}
