"""What there is of a study, in words: stage by stage, and what each engine would run now."""

import logging
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steps.params import ROOT
from steps.study import dvc
from steps.study.examined import KINDS, Wrong, examine, instances
from steps.study.plan import Plan
from steps.study.rules import rules

SHOWN = 5
"""Results that are not in order, of a stage, that are told one by one."""


def told(plan: Plan) -> str:
    """The whole of it: a table of stages, what is wrong, what engines would run, what to do."""
    found = rules(plan)
    said = examine(plan, found)
    stage_of = {out: rule.name for rule, _, out in instances(found)}
    parts = [_table(said, stage_of), *_reasons(said, stage_of)]
    parts += [f"Snakemake would run: {_words(_snakemake(plan))}"]
    parts += [f"DVC would run: {_words(_dvc(plan))}"]
    parts += repair(plan, {out: wrong for out, wrong in said.items() if wrong})
    return "\n".join(parts)


def repair(plan: Plan, bad: Mapping[Path, Wrong]) -> list[str]:
    """The commands that put results in order that are not; a sentence where all are."""
    if not bad:
        return ["Every result is in order. If an engine would run some all the same: make adopt"]
    name = "" if plan.path == ROOT else f" STUDY={plan.params.study.name}"
    damaged = [str(out) for out, wrong in bad.items() if wrong.kind == "damaged"]
    return [*(f"rm -r {out}" for out in damaged), f"make study{name}"]


def _table(said: Mapping[Path, Wrong | None], stage_of: Mapping[Path, str]) -> str:
    count: dict[str, Counter[str]] = {}
    for out, wrong in said.items():
        count.setdefault(stage_of[out], Counter())[wrong.kind if wrong else "in order"] += 1
    kinds = ["in order", *(kind for kind in KINDS if any(c[kind] for c in count.values()))]
    width = max(map(len, count))
    lines = [" ".join([" " * width, *(f"{kind:>9}" for kind in kinds)])]
    for stage, of in count.items():
        cells = (f"{of[kind] or '-':>9}" for kind in kinds)
        lines.append(" ".join([f"{stage:<{width}}", *cells]))
    return "\n".join(lines)


def _reasons(said: Mapping[Path, Wrong | None], stage_of: Mapping[Path, str]) -> Iterator[str]:
    """What is wrong, the first few of each stage; what only waits or was never made is not told."""
    left: Counter[str] = Counter()
    for out, wrong in said.items():
        if wrong is None or wrong.kind in ("waiting", "missing"):
            continue
        left[stage_of[out]] += 1
        if left[stage_of[out]] <= SHOWN:
            yield f"{out}: {wrong.why}"
    for stage, number in left.items():
        if number > SHOWN:
            yield f"{stage}: {number - SHOWN} more like these"


def _snakemake(plan: Plan) -> Counter[str]:
    """Jobs that Snakemake would run, by rule."""
    path = Path(sys.executable).parent / "snakemake"
    command = [str(path), "--dry-run", "--config", f"study={plan.params.study.name}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return Counter({(done.stderr or done.stdout).strip().splitlines()[-1]: 0})
    stats = re.search(r"Job stats:\n.*\n[- ]+\n((?:\w+ +\d+\n)+)", done.stdout + done.stderr)
    rows = [line.split() for line in stats[1].splitlines()] if stats else []
    return Counter({name: int(n) for name, n in rows if name not in ("all", "total")})


def _dvc(plan: Plan) -> Counter[str]:
    """Stages that DVC would run first, by name; what follows from them is not among these."""
    from dvc.repo import Repo

    file = dvc.path(plan)
    if not file.is_file():
        return Counter({f"there is no {file}: python -m steps study": 0})
    logging.getLogger("dvc").setLevel(logging.ERROR)
    with Repo() as repo:
        changed: dict[str, Any] = repo.status(targets=[str(file)])
    names = (name.rpartition(":")[2].partition("@")[0] for name in changed)
    return Counter(name for name in names if name != dvc.CHECK)


def _words(count: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" if n else name for name, n in count.items()) or "nothing"
