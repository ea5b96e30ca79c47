"""What the records of finished studies say of a machine's speed.

A stage's record has the processor seconds of its whole run. The constants of `machine.Speed` are
fitted to them by least squares of log(predicted / recorded), whose standard deviation is taken to
be NOISE. A constant is held to what the code has for it, times a factor that all share freely, by a
standard deviation of TIGHT.
So records of a small study settle what they show, above all how long processes take to start and
how fast the machine is, and leave the rest where it was.
"""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from steps.stage import StageError
from steps.study.costs.machine import Speed, amounts
from steps.study.costs.work import Work

NOISE, TIGHT = 0.15, 0.5
"""Standard deviations of log seconds: of a job, and of a constant about the machine's speed."""
FILE = "speed.json"


def records(results: Path) -> list[dict[str, Any]]:
    """Every record below a study's results, of stages that finished."""
    found = []
    for path in sorted(results.rglob("*.record.json")):
        try:
            told = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if told.get("status") == "finished" and told.get("cpu_s", 0) > 0:
            found.append(told)
    return found


def fit(works: Sequence[Work], seconds: Sequence[float], source: str, first: Speed) -> Speed:
    """The constants under which these works take these seconds, near `first`."""
    from scipy.optimize import least_squares

    names = list(first.named())
    start = np.log([first.named()[name] for name in names])
    rows = [amounts(work) for work in works]
    table = np.array([[row.get(name, 0.0) for name in names] for row in rows])
    target = np.log(seconds)

    def off(x: np.ndarray) -> np.ndarray:
        shared, own = x[0], x[1:]
        told = np.log(table @ np.exp(start + shared + own)) - target
        return np.concatenate([told / NOISE, own / TIGHT])

    found = least_squares(off, np.zeros(len(names) + 1)).x
    values = np.exp(start + found[0] + found[1:])
    return Speed.of(dict(zip(names, map(float, values), strict=True)), source)


def compared(
    told: Sequence[tuple[str, float, float]],
) -> list[tuple[str, int, float, float, float]]:
    """Stage, runs, predicted and recorded seconds in all, and their ratio, from (stage, p, r)."""
    by = defaultdict(list)
    for stage, predicted, recorded in told:
        by[stage].append((predicted, recorded))
    rows = []
    for stage, pairs in by.items():
        predicted, recorded = (math.fsum(column) for column in zip(*pairs, strict=True))
        rows.append((stage, len(pairs), predicted, recorded, predicted / recorded))
    return rows


def load(results: Path) -> Speed:
    """The constants that stand beside the results, else the code's own."""
    path = results / FILE
    if not path.is_file():
        return Speed()
    try:
        told = json.loads(path.read_text())
        return Speed.of(
            {name: float(told["constants"][name]) for name in Speed().named()}, told["source"]
        )
    except (ValueError, KeyError, TypeError):
        raise StageError(f"{path} is damaged: delete it, or calibrate anew") from None


def save(speed: Speed, results: Path) -> Path:
    """Write the constants beside the results of all studies."""
    path = results / FILE
    results.mkdir(exist_ok=True)
    path.write_text(json.dumps({"source": speed.source, "constants": speed.named()}, indent=1))
    return path
