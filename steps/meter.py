"""What a training stage takes of its machine while it runs, in its event log as MLflow names it.

A thread of the stage's own process looks every ten seconds; after the first hour ever more rarely,
so that a training of days leaves some thousand points. Processes that it started, as those that
train one model together, are counted with it. MLflow shows what is named `system/...` on a page of
its own; names and units are those of its own system metrics where there are any:

    cpu_utilization_percentage      of all the machine's cores, whoever uses them
    system_memory_usage_...         of the whole machine
    stage_cpu_percentage            of the stage; 100 is one core
    stage_memory_usage_megabytes    resident, of the stage; pages that processes share count twice
    gpu_<i>_...                     of the GPUs that the stage may use (steps/nvml.py)

Nothing here can fail a stage, and a stage shorter than two looks leaves no point.
"""

import signal
import threading
import time
from contextlib import suppress
from typing import Any

from steps import nvml
from steps.nvml import MEGABYTE
from steps.track import log

TRAINING = {
    *("tower", "language", "align", "instruct", "joined", "tuned", "dictionary"),
    *("sft", "dpo", "grpo", "reuse", "newcomers"),
}
"""The stages that train, which are sampled."""
INTERVAL = 10.0
"""Seconds between two looks, at least."""
SHARE = 1 / 360
"""The same as a share of the time that has gone by: the larger of both is waited."""


class Sampler:
    """Samples one stage from `start` to `stop`, in a thread that ends with the process."""

    def __init__(self) -> None:
        self._ended, self._lock = threading.Event(), threading.Lock()

    def start(self) -> None:
        """Begin; where no thread can be had the stage goes on without samples."""
        with suppress(RuntimeError):
            threading.Thread(target=self._run, name="meter", daemon=True).start()

    def stop(self) -> None:
        """End at once: from now on nothing is written. May be called without a start."""
        with self._lock:  # the log may be closed after this, its descriptor be another file's
            self._ended.set()

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # the stage's, not ours
        with suppress(Exception):  # whatever is wrong with the machine's figures
            self._look()

    def _look(self) -> None:
        began, step = time.monotonic(), 0
        before: tuple[float, float] | None = None
        while not self._ended.wait(max(INTERVAL, SHARE * (time.monotonic() - began))):
            values, used = sample()
            now = time.monotonic()
            if before is not None:  # a load is one between two looks
                own = 100 * max(0.0, used - before[1]) / (now - before[0])
                values["stage_cpu_percentage"] = own
                with self._lock:
                    if not self._ended.is_set():
                        log.sample({f"system/{n}": round(v, 1) for n, v in values.items()}, step)
                step += 1
            before = now, used


def watch(stage: str) -> Sampler:
    """A sampler at work for a stage that trains, an idle one for any other."""
    sampler = Sampler()
    if stage in TRAINING:
        sampler.start()
    return sampler


def sample() -> tuple[dict[str, float], float]:
    """The machine's figures now, and the processor seconds that this stage has taken so far."""
    import psutil

    memory = psutil.virtual_memory()
    resident, seconds = 0, 0.0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):  # it has ended
            resident += process.memory_info().rss
            seconds += _seconds(process.cpu_times())
    values = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / MEGABYTE,
        "system_memory_usage_percentage": 100 * memory.used / memory.total,
        "stage_memory_usage_megabytes": resident / MEGABYTE,
    }
    return values | nvml.told(), seconds


def _seconds(times: Any) -> float:
    """Of a process, and of its children that have ended: they are in no list any more."""
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return times.user + times.system + ended
