"""Answers to benchmarks that lmms-eval logged: which file an arm takes, and a digest of it.

As in `steps.outside`, what lies outside the repository is written down as a file in results/,
`evals/<base>/<arm>/seed<k>.json`, which is what the stage `logged` depends on. Every start of
an engine comes here: a file is read anew only where its size or time changed. Nothing heavy is
imported.
"""

import glob
import re
from pathlib import Path
from typing import Any

from steps import outside
from steps.schema import Params, seeds_of
from steps.stage import Missing, StageError

LEVELS = ("base", "arm", "seed")
_TASK = re.compile(r"(?:^|_)samples_(.+)\.jsonl$")


def place(path: str, base: str, arm: str, seed: int) -> str:
    """An entry's path for one model: `{base}`, `{arm}` and `{seed}` stand for its names."""
    for level, value in zip(LEVELS, (base, arm, seed), strict=True):
        path = path.replace(f"{{{level}}}", str(value))
    return path


def task(path: str) -> str:
    """The task that a file's name tells, as lmms-eval writes it; empty where it tells none."""
    found = _TASK.search(Path(path).name)
    return found[1] if found else ""


def alike(params: Params, arm: str) -> bool:
    """Whether an arm has the same weights on every seed, so that one evaluation is enough."""
    spec = params.arms[arm]
    elsewhere = spec.method == "checkpoint" and "{seed}" not in str(spec.overrides.get("path"))
    return spec.method == "none" or elsewhere


def files(params: Params, name: str, base: str, arm: str, seed: int) -> str | None:
    """The one file of an arm and seed for an entry; None where it may be absent and is.

    An arm with the same weights on every seed takes the first seed's, where it has none of its own.
    Raises Missing for no file, and StageError for several.
    """
    told, key = params.benchmarks[name], f"benchmarks.{name}.path"
    seeds = [seed, *(params.seeds[:1] if alike(params, arm) else [])]
    paths = [place(told.path, base, arm, s) for s in seeds]
    for path in paths:
        found = sorted(p for p in glob.glob(path, recursive=True) if Path(p).is_file())
        if len(found) > 1:
            raise StageError(
                f"{key}: {path} (arm {arm}, seed {seed}) fits {len(found)} files, "
                f"{', '.join(found[:3])}{' ...' if len(found) > 3 else ''}: leave one there"
            )
        if found:
            return found[0]
    if not told.required:
        return None
    raise Missing(
        f"{key}: there is no {paths[0]} (arm {arm}, seed {seed}): run lmms-eval on this model with "
        "--log_samples (docs/benchmarks.md), or set required to false"
    )


def told(params: Params, known: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """What every base, arm and seed takes: by benchmark, path and hashes, or None if absent.

    known: a file that keeps each file's hash with its size and time, read and written here. Raises
    StageError or Missing with one sentence.
    """
    found: dict[tuple[str, str, int], dict[str, str | None]] = {}
    for base in params.bases:
        for arm in params.arms:
            for seed in seeds_of(params, arm):
                some = {n: files(params, n, base, arm, seed) for n in params.benchmarks}
                found[base, arm, seed] = some
    keys: dict[str, str] = {}
    for name, entry in params.benchmarks.items():
        _one_task(name, {who: path for who, some in found.items() if (path := some[name])})
        if entry.answers is not None:
            if not Path(entry.answers).is_file():
                raise Missing(
                    f"benchmarks.{name}.answers = {entry.answers!r}: there is no such file: write "
                    "one as docs/benchmarks.md says"
                )
            keys[name] = entry.answers
    every = {path for some in found.values() for path in some.values() if path} | {*keys.values()}
    hashes = outside.hashes({path: Path(path) for path in sorted(every)}, known)

    def one(name: str, path: str | None) -> dict[str, Any] | None:
        if path is None:
            return None
        key = {"answers": hashes[keys[name]]} if name in keys else {}
        return {"path": path, "sha256": hashes[path], **key}

    return {who: {n: one(n, p) for n, p in some.items()} for who, some in found.items()}


def _one_task(name: str, paths: dict[tuple[str, str, int], str]) -> None:
    """Raise StageError if an entry's files are of several tasks, by their names."""
    first: tuple[str, str] | None = None
    for path in paths.values():
        if said := task(path):
            first = first or (said, path)
            if said != first[0]:
                raise StageError(
                    f"benchmarks.{name}.path: {path} is of task {said}, {first[1]} of task "
                    f"{first[0]}: name one task in the path, as in *_samples_{first[0]}.jsonl"
                )
