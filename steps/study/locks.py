"""File locks of the engines: let go where their owner is dead, refused where they do not hold.

A killed Snakemake leaves its lock files, and the next run would ask for `--unlock`. Every run of
ours holds a lock of the operating system's as long as it lives, which dies with it: who finds
nobody holding it knows that what lies there is left over. Several studies may run at once.
"""

import fcntl
import os
import sys
from pathlib import Path
from typing import IO

from steps import mounts
from steps.stage import StageError


def settle(folder: Path) -> IO[bytes]:
    """Clear Snakemake's stale locks in `folder` (.snakemake); keep what is returned while running.

    Nothing is cleared while another run holds its own, nor where another machine's cannot be seen.
    """
    folder.mkdir(exist_ok=True)
    alive = open(folder / "alive.lock", "a+b")  # NFS gives a shared lock to readers only
    mount = mounts.of(folder)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    except OSError as error:  # Lustre, as many mount it, has no such locks
        print(
            f"sightline: {folder} cannot be locked ({error.strerror}): the study runs, but after "
            "a killed run `snakemake --unlock` is left to you",
            file=sys.stderr,
        )
        return alive
    else:
        left = [] if mount and mount.lonely else (folder / "locks").glob("*.lock")
        for lock in left:
            lock.unlink(missing_ok=True)
    fcntl.flock(alive, fcntl.LOCK_SH)
    return alive


def refuse_dvc(folder: Path = Path(".dvc")) -> None:
    """Raise StageError where DVC is set up to keep locks or sqlite files on a network file system.

    Its own lock is flock, which is not to be trusted there unless `core.hardlink_lock` is on, and
    in `core.site_cache_dir` it keeps sqlite files with a write-ahead log.
    """
    mount = mounts.network(folder)
    state = os.environ.get("DVC_SITE_CACHE_DIR")
    if mount is None and (state is None or not mounts.network(Path(state))):
        return  # the usual case, without the second that importing DVC takes
    from dvc.config import Config

    core = Config(str(folder.resolve()))["core"]
    settings = []
    if mount and not core.get("hardlink_lock"):
        settings.append("`dvc config --local core.hardlink_lock true`")
    state = state or core.get("site_cache_dir")
    if state and (found := mounts.network(Path(state))):
        mount = mount or found
        settings.append(
            "`dvc config --local core.site_cache_dir <a folder of yours alone on a local disk>`"
        )
    if settings:
        raise StageError(
            f"DVC's locks and sqlite files do not hold on a network file system ({mount}): "
            f"run {' and '.join(settings)}"
        )
