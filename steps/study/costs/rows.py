"""A line of a plan: one stage of a base and arm; and the device that it is for."""

from dataclasses import dataclass

from steps.study.costs.machine import Gpu, Speed
from steps.study.costs.work import Work

TRAINED = ("sft", "dpo", "grpo", "joined")
"""Stages that train.processes processes share."""


@dataclass(frozen=True)
class Device:
    """What a study is to run on: `count` GPUs (or cores, without one); mfu is assumed."""

    gpu: Gpu | None
    count: int
    cores: int
    mfu: float
    core: Speed

    @property
    def name(self) -> str:
        """What it is called in sums of hours."""
        return self.gpu.name if self.gpu else "core"


@dataclass(frozen=True)
class Row:
    """One stage of a base and arm: a job's work, seconds and bytes, times `jobs`."""

    stage: str
    base: str | None
    arm: str | None
    jobs: int
    work: Work
    seconds: float
    held: dict[str, float]
    devices: int = 1

    @property
    def memory(self) -> float:
        """Bytes of GPU memory in all."""
        return sum(self.held.values())
