"""A whole study's cost: every job's work, its time on the device named, and what cannot fit."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from steps.schema import METHODS
from steps.stage import StageError
from steps.study.costs import calibrate, graph, limits, machine, memory, shapes
from steps.study.costs.graph import Job
from steps.study.costs.machine import Speed
from steps.study.costs.rows import TRAINED, Device, Row
from steps.study.costs.table import COSTS, PROCESSOR
from steps.study.costs.talk import talk
from steps.study.costs.work import KEPT, Case
from steps.study.plan import Plan
from steps.study.premises import missing

RESULTS = Path("results")


@dataclass(frozen=True)
class Forecast:
    """All rows, the schedule, and sentences on what is assumed and on what cannot fit."""

    study: str
    device: Device
    rows: list[Row]
    jobs: list[Job]
    seconds: list[float]
    plan: graph.Schedule
    assumed: list[str]
    refused: list[str]

    def sum(self, name: str) -> float:
        """A sum over all jobs of an amount of work."""
        return sum(row.jobs * getattr(row.work, name) for row in self.rows)

    @property
    def hours(self) -> float:
        """Device-hours of jobs that ask for a GPU, or of all where there is none."""
        mine = (r for r in self.rows if not self.device.gpu or r.stage not in PROCESSOR)
        return sum(row.jobs * row.seconds * row.devices for row in mine) / 3600


def device(name: str | None, count: int | None, mfu: float) -> Device:
    """The device named, or this machine's cores."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    gpu = machine.gpu(name) if name else None
    return Device(gpu, count or (1 if gpu else cores), cores, mfu, calibrate.load(RESULTS))


def forecast(
    plan: Plan, on: Device, said: tuple[float, float] | None = None, free: float | None = None
) -> Forecast:
    """What a plan's jobs cost on a device. said: tokens of a question and an answer, if known.

    free: bytes that the disk has (default: what it has). Raises StageError where a base's
    configuration is not to be had.
    """
    work = graph.jobs(plan)
    cases = Cases(plan, said)
    rows: dict[tuple, Row] = {}
    seconds = []
    for job in work:
        key = (job.stage, job.base, job.arm)
        if key not in rows:
            rows[key] = _row(job, cases.of(job), on)
        else:
            rows[key] = replace(rows[key], jobs=rows[key].jobs + 1)
        seconds.append(rows[key].seconds)
    many = plan.params.train.processes

    def asks(job: Job) -> dict[str, int]:
        alone = on.gpu is None or job.stage in PROCESSOR
        count = many if job.stage in TRAINED else 1
        return {"core": count} if alone else {"core": count, "gpu": count}

    room = {"core": on.cores, "gpu": on.count} if on.gpu else {"core": on.count}
    timed = graph.schedule(work, seconds, room, asks)
    there = shutil.disk_usage(RESULTS if RESULTS.is_dir() else ".").free if free is None else free
    found = list(rows.values())
    told = [*_assumed(cases, on)]
    told += [f"before it can run: {said}" for said in missing(plan.params)]
    return Forecast(
        plan.params.study.name, on, found, work, seconds, timed, told,
        [*limits.memory(found, on, plan.params.train), *limits.disk(found, on.count, there)],
    )  # fmt: skip


class Cases:
    """Cases of a plan's jobs; shapes and lengths are found once a base."""

    def __init__(self, plan: Plan, said: tuple[float, float] | None = None) -> None:
        self.params, self.said = plan.params, said
        self.known: dict[str, tuple[Any, Any]] = {}

    def base(self, name: str) -> tuple[Any, Any]:
        """A base's shape and talk."""
        if name not in self.known:
            shape = shapes.shape(self.params, name)
            self.known[name] = shape, talk(self.params, shape, self.said)
        return self.known[name]

    def of(self, job: Any) -> Case:
        """A job's case. One that has no base is given the first."""
        from steps.data.album import album

        shape, spoken = self.base(job.base or next(iter(self.params.bases)))
        own = self.params.arms.get(job.arm) if job.arm else None
        trains = own is not None and METHODS[own.method] is not None
        told = self.params.arm_section(job.arm) if trains else None
        photos = self.params.world.sprites != "photos" and bool(
            album(self.params.probes.photos)["folder"]
        )
        return Case(self.params, shape, spoken, job.arm, told, photos)


def _row(job: Job, case: Case, on: Device) -> Row:
    work = COSTS[job.stage](case)
    low = case.params.train.precision == "bfloat16"
    held: dict[str, float] = {}
    if on.gpu is None or job.stage in PROCESSOR:
        took = on.core.seconds(work)
    else:
        took = on.gpu.seconds(work, on.core, on.mfu, low)
        held = memory.held(job.stage, case)
    many = case.params.train.processes if job.stage in TRAINED else 1
    return Row(job.stage, job.base, job.arm, 1, work, took / many, held, many)


def _assumed(cases: Cases, on: Device) -> Iterable[str]:
    """What a plan rests on that is not known."""
    for name, (shape, spoken) in cases.known.items():
        yield (
            f"{name}: {shape.parameters:,} parameters ({shape.source}), {shape.tokens} tokens an "
            f"image; a question has {spoken.asked:.0f} tokens, an answer {spoken.said:.0f} "
            f"({spoken.source})"
        )
    if not cases.params.data.paired:
        yield f"{100 * KEPT:.0f} % of the training questions are kept by `pairs` (assumed)"
    if on.gpu:
        yield (
            f"{on.gpu.name}: {100 * on.mfu:.0f} % of {on.gpu.bf16:g} TFLOP/s in bfloat16 and of "
            f"{on.gpu.float32:g} in float32 (assumed; --mfu says otherwise), {on.gpu.source}"
        )
    yield f"a core's speed: {on.core.source}"


def calibrated(plans: Iterable[Plan]) -> tuple[Speed, list[tuple[str, float, float]]]:
    """A core's speed by the records of these studies, and (stage, predicted, recorded) of each job.

    Raises StageError where there are none.
    """
    works, seconds, stages, names = [], [], [], []
    for plan in plans:
        cases, told = Cases(plan), calibrate.records(Path(plan.results))
        for one in told:
            known = one["stage"] in COSTS and (one["arm"] is None or one["arm"] in plan.params.arms)
            if known and (one["base"] is None or one["base"] in plan.params.bases):
                case = cases.of(Job(one["stage"], "", one["base"], one["arm"], one["seed"], []))
                works.append(COSTS[one["stage"]](case))
                seconds.append(one["cpu_s"])
                stages.append(one["stage"])
        names += [plan.params.study.name] * bool(told)
    if not works:
        raise StageError(
            "results/ has no records to calibrate on: run make study STUDY=smoke first"
        )
    source = f"calibrated on {len(works)} records of {', '.join(names)}"
    speed = calibrate.fit(works, seconds, source, Speed())
    predicted = [speed.seconds(work) for work in works]
    return speed, list(zip(stages, predicted, seconds, strict=True))
