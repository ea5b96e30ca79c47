"""Seconds that a job's work takes, on a processor's core or on a GPU.

    core:  start + sum of amounts / rate                       (a job has one thread)
    GPU:   start + FLOPs / (peak x MFU), at least calls x LAUNCH, and where answers are sampled at
           least the time that reading weights and cached keys takes at the memory's bandwidth

MFU is the share of the maker's peak that passes reach ("model FLOPs utilisation", Chowdhery et al.
2022, 2204.02311, appendix B): it is assumed, not known. 0.3 to 0.5 are reported for large models.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from steps.stage import StageError
from steps.study.costs.work import FLOPS, Work

MFU = 0.35
LAUNCH = 1e-3
"""Seconds a layer, forward, until a GPU has been told what to do: what small models take. A step of
the recipe took 28 and 62 ms on an H200 (docs/gpu.md), where this gives 19 and 39."""
DRAWERS = 4
"""Processes that draw scenes beside a GPU (`steps.models.feed`), about."""


@dataclass(frozen=True)
class Speed:
    """A core's constants. start: seconds by what is imported; the rest: seconds a unit of Work.

    The figures here are of the machine that this was written on, busy with other work; those that
    `calibrate` finds stand beside the results. source: where they are from.
    """

    start: dict[str, float] = field(default_factory=lambda: dict(START))
    read: float = 1 / 20e9
    train: float = 1 / 22e9
    decode: float = 1 / 11e9
    fit: float = 1 / 66e9
    probe: float = 1 / 15e9
    muon: float = 1 / 3e9
    calls: float = 1.1e-3
    scenes: float = 1.5e-3
    items: float = 5e-3
    fixed: float = 1.0
    source: str = "not calibrated: those of the machine that this was written on"

    def named(self) -> dict[str, float]:
        """All constants by name, `start.<kind>` among them."""
        plain = asdict(self)
        start = {f"start.{kind}": value for kind, value in plain.pop("start").items()}
        return start | {name: value for name, value in plain.items() if name != "source"}

    @classmethod
    def of(cls, named: dict[str, float], source: str) -> "Speed":
        """The opposite of `named`."""
        start = {n.removeprefix("start."): v for n, v in named.items() if n.startswith("start.")}
        rest = {name: value for name, value in named.items() if not name.startswith("start.")}
        return cls(start=start, **rest, source=source)

    def seconds(self, work: Work) -> float:
        """Seconds of a core."""
        return sum(amount * self.named()[name] for name, amount in amounts(work).items())


START = {"none": 0.85, "data": 1.3, "probe": 3.0, "model": 7.6, "trainer": 9.0, "page": 9.0}
"""Seconds until a process has imported what it needs and loaded a small model."""


def amounts(work: Work) -> dict[str, float]:
    """A work's amounts by the names of a core's constants; those that take no time left out."""
    names = (*FLOPS, "calls", "scenes", "items", "fixed")
    return {f"start.{work.start}": 1.0} | {name: getattr(work, name) for name in names}


@dataclass(frozen=True)
class Gpu:
    """A GPU of gpus.yaml: GiB, TFLOP/s of dense products, GB/s."""

    name: str
    memory: float
    bf16: float
    float32: float
    bandwidth: float
    source: str

    def seconds(self, work: Work, core: Speed, mfu: float, low: bool) -> float:
        """Seconds of a job; low: training's products are in bfloat16 (all others in float32)."""
        whole = self.float32 * 1e12 * mfu
        trained = (self.bf16 if low else self.float32) * 1e12 * mfu
        passes = (work.read + work.fit + work.probe) / whole
        passes += work.train / trained + work.muon / (self.bf16 * 1e12 * mfu)
        sampled = max(work.decode / whole, work.streamed / (self.bandwidth * 1e9))
        busy = max(passes + sampled, work.calls * LAUNCH)  # what is told early waits its turn
        drawn = core.seconds(Work(scenes=work.scenes, start=work.start)) - core.start[work.start]
        beside = Work(items=work.items, fixed=work.fixed, start=work.start)
        return max(busy, drawn / DRAWERS) + core.seconds(beside)


def gpus() -> dict[str, Gpu]:
    """The table of GPUs."""
    import yaml

    told = yaml.safe_load((Path(__file__).with_name("gpus.yaml")).read_text())
    return {name: Gpu(name, **of) for name, of in told.items()}


def gpu(name: str) -> Gpu:
    """One of them. Raises StageError for a name that is not there."""
    every = gpus()
    if name not in every:
        raise StageError(f"GPU={name}: give one of {', '.join(every)}, or add it to gpus.yaml")
    return every[name]
