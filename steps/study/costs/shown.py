"""A forecast as text for people, and as plain values for machines."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from steps.study.costs.forecast import Forecast
from steps.study.costs.rows import Row
from steps.study.costs.table import PROCESSOR

HEAD = ("stage", "jobs", "FLOPs", "GPU GiB", "disk GB", "a job", "in sum", "share")
SHOWN = 8
"""Jobs of the critical path that are named."""


def text(found: Forecast) -> str:
    """The plan on at most 100 columns: a line a stage, sums, the clock, what is assumed."""
    on = found.device
    whole = sum(row.jobs * row.seconds for row in found.rows) or 1.0
    lines = [_cells(stage, rows, whole) for stage, rows in _stages(found.rows).items()]
    disk, flops = found.sum("disk") / 1e9, found.sum("flops")
    most = max((row.memory for row in found.rows), default=0) / 2**30
    lines.append(
        ("in all", str(len(found.jobs)), f"{flops:.1e}", _gib(most), f"{disk:.2f}", "",
         duration(whole), "")
    )  # fmt: skip
    kind = f"{on.count} x {on.gpu.name}" if on.gpu else f"{on.count} cores of this machine"
    parts = [f"{found.study}: {len(found.jobs)} jobs on {kind}", "", *aligned([HEAD, *lines]), ""]
    parts += [*_worst(found.rows), *_times(found), *_path(found), ""]
    parts += [f"  {line}" for line in published(found.study)]
    parts += [f"- {line}" for line in found.assumed]
    return "\n".join(line for part in parts for line in wrapped(part)) + "\n"


def _stages(rows: Iterable[Row]) -> dict[str, list[Row]]:
    by: dict[str, list[Row]] = {}
    for row in rows:
        by.setdefault(row.stage, []).append(row)
    return by


def _cells(stage: str, rows: list[Row], whole: float) -> tuple[str, ...]:
    jobs = sum(row.jobs for row in rows)
    sums = [sum(r.jobs * v for r, v in zip(rows, of, strict=True)) for of in (
        [r.work.flops for r in rows], [r.work.disk for r in rows], [r.seconds for r in rows]
    )]  # fmt: skip
    most = max(row.memory for row in rows) / 2**30
    return (
        stage, str(jobs), f"{sums[0]:.1e}" if sums[0] else "-", _gib(most), f"{sums[1] / 1e9:.2f}",
        duration(sums[2] / jobs), duration(sums[2]), f"{100 * sums[2] / whole:.0f} %",
    )  # fmt: skip


def _gib(value: float) -> str:
    return f"{value:.1f}" if value else "-"


def _worst(rows: list[Row]) -> Iterable[str]:
    """What the largest job's memory is for."""
    row = max(rows, key=lambda one: one.memory)
    if row.memory:
        kinds = sorted(row.held.items(), key=lambda kind: -kind[1])
        told = ", ".join(f"{name} {value / 2**30:.1f}" for name, value in kinds if value)
        arm = f", arm {row.arm}" if row.arm else ""
        yield f"Largest: {row.stage}{arm}, {row.memory / 2**30:.1f} GiB: {told}"


def _times(found: Forecast) -> Iterable[str]:
    on, timed = found.device, found.plan
    yield (
        f"{duration(timed.wall)} on the clock, {found.hours:.2f} {on.name}-hours; at most "
        f"{timed.width} jobs side by side"
    )


def _path(found: Forecast) -> Iterable[str]:
    timed = found.plan
    names = [found.jobs[number].name for number in timed.path]
    if len(names) > SHOWN:
        names = [*names[: SHOWN - 1], f"{len(names) - SHOWN} more", names[-1]]
    yield f"Critical path, {duration(timed.path_s)} on any number of devices: {' > '.join(names)}"


def published(study: str) -> list[str]:
    """What the paper that a study is named after says that its own cost."""
    import yaml

    told = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text())
    return [
        f"published: {one['what']}: {one['hours']} {one['device']}-hours ({one['said']}; "
        f"{one['source']})"
        for name, rows in told.items()
        if study.startswith(name)
        for one in rows
    ]


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under their heads: the first on the left, figures on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(wide) if not place else cell.rjust(wide)
            for place, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def wrapped(line: str, columns: int = 100) -> list[str]:
    """A line broken at spaces; what follows is indented."""
    import textwrap

    return textwrap.wrap(line, columns, subsequent_indent="  ") or [""]


def fitted(rows: Iterable[tuple[str, int, float, float, float]]) -> str:
    """Predicted beside recorded processor seconds, a line a stage and a sum."""
    told = list(rows)
    lines = [(n, str(k), f"{p:.1f}", f"{r:.1f}", f"{q:.2f}") for n, k, p, r, q in told]
    predicted, recorded = (sum(row[at] for row in told) for at in (2, 3))
    runs = str(sum(row[1] for row in told))
    last = ("in all", runs, f"{predicted:.1f}", f"{recorded:.1f}", f"{predicted / recorded:.2f}")
    head = ("stage", "runs", "predicted, s", "recorded, s", "ratio")
    return "\n".join(aligned([head, *lines, last])) + "\n"


def plain(found: Forecast) -> dict[str, Any]:
    """The same for machines: one entry a stage, base and arm, and the sums."""
    rows = [
        {
            "stage": row.stage,
            "base": row.base,
            "arm": row.arm,
            "jobs": row.jobs,
            "flops": row.work.flops,
            "memory": {name: value / 2**30 for name, value in row.held.items()},
            "memory_gib": row.memory / 2**30,
            "disk_gb": row.work.disk / 1e9,
            "hours": row.seconds / 3600,
            "gpu": row.stage not in PROCESSOR,
        }
        for row in found.rows
    ]
    timed, on = found.plan, found.device
    return {
        "study": found.study,
        "device": on.gpu.name if on.gpu else "core",
        "gpu": asdict(on.gpu) if on.gpu else None,
        "devices": on.count,
        "mfu": on.mfu if on.gpu else None,
        "jobs": len(found.jobs),
        "flops": found.sum("flops"),
        "disk_gb": found.sum("disk") / 1e9,
        "device_hours": found.hours,
        "hours": timed.wall / 3600,
        "critical_path": [found.jobs[n].name for n in timed.path],
        "critical_path_hours": timed.path_s / 3600,
        "side_by_side": timed.width,
        "assumed": found.assumed,
        "refused": found.refused,
        "stages": rows,
    }
