"""A recipe's batches in the order of its steps, drawn ahead by processes of their own for a GPU.

Drawing a batch takes tens of milliseconds of numpy on one core: longer than a GPU's step. A batch
is a function of the recipe's seed and its step alone, so it is the same whoever draws it.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

import numpy as np

from steps.stage import StageError

MOST = 3
"""Processes at most: a batch takes 10 to 20 ms of a core, a GPU's step 25 to 60 (an H200)."""
DEEP = 4
"""Batches under way or waiting for each process: a slow one holds up none of the others."""

_drawing: tuple[Callable, int] | None = None
"""In a process that draws: what it draws by, and the recipe's seed."""


def workers(device: str) -> int:
    """How many processes draw batches for a model on a device of type `cuda` or `cpu`.

    Beside a GPU the cores that this process may use, but one for itself and at most MOST. On a CPU
    none, that is, batches are drawn in line: a stage has the threads there that its rule asks for.
    """
    return min(MOST, len(os.sched_getaffinity(0)) - 1) if device == "cuda" else 0


def batches(
    draw: Callable[[int, np.random.Generator], Any], seed: int, steps: range, workers: int = 0
) -> Iterator[Any]:
    """Yield `draw(step, rng)` for each of `steps`, with the generator of [seed, step].

    draw: with workers, something that can be pickled, and that gives something that can; numpy,
    without torch. It is sent to each process once. Close the iterator to end the processes; they
    also end by themselves when this one is killed. What draw raises is raised here; StageError says
    that a process was lost.
    """
    if not workers:
        for step in steps:
            yield draw(step, np.random.default_rng([seed, step]))
        return
    # A fork of a process that has begun to use a GPU or threads may hang: processes start afresh.
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, fresh, _begin, (draw, seed))
    try:
        rest = iter(steps)
        ahead = deque(pool.submit(_draw, step) for step in islice(rest, DEEP * workers))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(pool.submit(_draw, step) for step in islice(rest, 1))
            yield batch
    except BrokenProcessPool:
        raise StageError(
            "a process that draws batches was lost, perhaps for want of memory: see what it said "
            "above; run the stage on fewer cores (taskset)"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(draw: Callable, seed: int) -> None:
    global _drawing
    _drawing = draw, seed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that trains
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's process would wait for work for ever if the one that trains were killed."""
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)


def _draw(step: int) -> Any:
    assert _drawing is not None
    draw, seed = _drawing
    return draw(step, np.random.default_rng([seed, step]))
