"""A study's jobs, what each waits for, and how they fit on so many devices."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from steps.study.plan import Plan
from steps.study.rules import rules


@dataclass
class Job:
    """One instance of a stage. needs: numbers of the jobs that it waits for, all smaller ones."""

    stage: str
    out: str
    base: str | None
    arm: str | None
    seed: int | None
    inputs: list[str]
    needs: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its stage and whose it is."""
        who = [self.base, self.arm, None if self.seed is None else f"seed{self.seed}"]
        return " ".join([self.stage, *(part for part in who if part)])


def jobs(plan: Plan) -> list[Job]:
    """Every job that the report rests on, each behind those that it needs."""
    found = []
    for rule in rules(plan):
        for each in rule.instances():
            seed = each.get("seed")
            who = (each.get("base"), each.get("arm"), None if seed is None else int(seed))
            inputs = [path.format(**each) for path in rule.inputs.values()]
            found.append(Job(rule.name, rule.out.format(**each), *who, inputs))
    return ordered(found)


def ordered(found: list[Job]) -> list[Job]:
    """The same, sorted so that each comes after what it reads, with `needs` filled in."""
    from graphlib import TopologicalSorter

    whose = {job.out: number for number, job in enumerate(found)}
    needs: dict[int, list[int]] = {}
    for number, job in enumerate(found):
        mine = needs[number] = []
        for path in job.inputs:
            if path in whose:
                mine.append(whose[path])
            else:  # a folder of several results, which the report is given
                mine += [n for out, n in whose.items() if out.startswith(f"{path}/")]
    order = list(TopologicalSorter(needs).static_order())
    place = {old: new for new, old in enumerate(order)}
    for number, job in enumerate(found):
        job.needs = sorted({place[need] for need in needs[number]})
    return [found[number] for number in order]


@dataclass(frozen=True)
class Schedule:
    """Seconds until all is done, the longest chain of jobs, and how many ever run at once."""

    wall: float
    path: list[int]
    path_s: float
    width: int


def chain(work: list[Job], seconds: list[float]) -> tuple[list[int], float, list[float]]:
    """The longest chain, its seconds, and of each job how long it is from its start to the end."""
    after = list(seconds)
    follow: list[int | None] = [None] * len(work)
    for number in reversed(range(len(work))):
        for need in work[number].needs:
            if seconds[need] + after[number] > after[need]:
                after[need], follow[need] = seconds[need] + after[number], number
    first = max(range(len(work)), key=after.__getitem__)
    path: list[int] = []
    at: int | None = first
    while at is not None:
        path.append(at)
        at = follow[at]
    return path, after[first], after


def schedule(
    work: list[Job],
    seconds: list[float],
    room: dict[str, int],
    asks: Callable[[Job], dict[str, int]],
) -> Schedule:
    """List scheduling: what is ready and has the longest chain behind it starts first.

    room: devices by kind, as in {"core": 2}. asks: what a job takes of them; more than there is
    counts as all. A greedy order is at most twice the best (Graham 1969).
    """
    path, longest, rank = chain(work, seconds)
    waits = [len(job.needs) for job in work]
    heirs: list[list[int]] = [[] for _ in work]
    for number, job in enumerate(work):
        for need in job.needs:
            heirs[need].append(number)
    ready = [(-rank[n], n) for n in range(len(work)) if not waits[n]]
    heapq.heapify(ready)
    free, running, now, width = dict(room), [], 0.0, 0
    while ready or running:
        held = []
        while ready:
            order = heapq.heappop(ready)
            takes = {k: min(v, room[k]) for k, v in asks(work[order[1]]).items()}
            if any(free[kind] < count for kind, count in takes.items()):
                held.append(order)
                continue
            for kind, count in takes.items():
                free[kind] -= count
            heapq.heappush(running, (now + seconds[order[1]], order[1]))
        for order in held:
            heapq.heappush(ready, order)
        width = max(width, len(running))
        now, done = heapq.heappop(running)
        for kind, count in asks(work[done]).items():
            free[kind] += min(count, room[kind])
        for heir in heirs[done]:
            waits[heir] -= 1
            if not waits[heir]:
                heapq.heappush(ready, (-rank[heir], heir))
    return Schedule(now, path, longest, width)
