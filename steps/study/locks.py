"""Snakemake's lock of a folder, let go where it has no owner left.

A killed Snakemake leaves its lock files, and the next run would ask for `--unlock`. Every run of
ours holds a lock of the operating system's as long as it lives, which dies with it: who finds
nobody holding it knows that what lies there is left over. Several studies may run at once.
"""

import fcntl
from pathlib import Path
from typing import IO


def settle(folder: Path) -> IO[bytes]:
    """Clear Snakemake's stale locks in `folder` (.snakemake); keep what is returned while running.

    Nothing is cleared while another run holds its own.
    """
    folder.mkdir(exist_ok=True)
    alive = open(folder / "alive.lock", "ab")
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        for left in (folder / "locks").glob("*.lock"):
            left.unlink(missing_ok=True)
    fcntl.flock(alive, fcntl.LOCK_SH)
    return alive
