"""Which GPUs a machine has, and how a stage comes to have some of them to itself.

Snakemake counts them (`resources: gpu`), but another engine, or another study, may run beside it.
So a stage takes a lock file for each GPU that it uses, and waits while none is free. The lock is
the open file's (flock): it ends with the process, however that ends. Processes that train one model
together have the GPUs that the one that began them locked. Under Slurm, which gives each job GPUs
of its own, nothing is locked. Nothing heavy is imported here: the workflow counts too.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from steps.stage import StageError

POLL = 1.0
"""Seconds between two looks for a GPU that is free."""

OURS = ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")
"""Variables that say that the GPUs in sight are this process's already: Slurm's, `ranks.spread`'s.
"""

_held: list = []
"""This process's locks: open as long as it lives."""


def visible() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES has for them."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [name for name in told.split(",") if name.strip() and name.strip() != "-1"]
    found = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return sorted(found, key=int)


def take(count: int = 1, among: Sequence[str] | None = None, folder: Path | None = None) -> list:
    """Wait for `count` free GPUs, lock them until this process ends, and let CUDA see no others.

    among: their names (default: `visible`). folder: of the locks, one's own by default. Returns the
    names; an empty list without a GPU. To be called before CUDA is used. Raises StageError where
    there are fewer than `count`.
    """
    from filelock import FileLock, Timeout

    names = list(visible() if among is None else among)
    if not names or _held or any(name in os.environ for name in OURS):
        return names[:count]
    if len(names) < count:
        raise StageError(
            f"train.processes = {count}: this machine has {len(names)} GPUs; give at most as many"
        )
    folder = folder or Path(tempfile.gettempdir()) / f"sightline-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = False
    while True:
        locks = {}
        for name in names:
            lock = FileLock(folder / f"{name.replace('/', '_')}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            locks[name] = lock
            if len(locks) == count:
                _held.extend(locks.values())
                os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(locks)
                return list(locks)
        for lock in locks.values():  # a part of what it needs would keep others waiting
            lock.release()
        if not told:
            print(f"waiting for {count} of the GPUs {', '.join(names)}", file=sys.stderr)
            told = True
        time.sleep(POLL)
