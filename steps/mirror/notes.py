"""What has been mirrored, as far as is known without asking MLflow, and the locks around it.

MLflow itself holds the truth (the tag `sightline.offset` on each run); the notes spare a study
with nothing new the seconds of importing it, and may be deleted at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steps import mounts, spool
from steps.mirror.words import masked


class Refused(ConnectionError):
    """The mirror cannot work as it is set up; the text is one sentence that says what to set."""


def uri(root: Path) -> str:
    """Where the runs go: MLFLOW_TRACKING_URI, or mlflow.db beside `results/`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project(root)}/mlflow.db"


def project(root: Path) -> Path:
    """The folder that holds `results/`; a study's folder that lies elsewhere stands for itself.

    Links are not followed: `results` may be one, to a larger disk.
    """
    root = Path(os.path.abspath(root))
    return root.parent.parent if root.parent.name == "results" else root


def database(uri: str) -> Path | None:
    """The file behind an sqlite URI, None for any other store."""
    head, found, path = uri.partition("sqlite:///")
    return Path(path).absolute() if found and not head else None


def load(root: Path) -> dict[str, Any]:
    """The notes on one study for the present store: `experiment`, `groups`, and `files` by name."""
    fresh = {"experiment": None, "groups": {}, "files": {}}
    file = database(uri(root))
    if file and not file.exists():
        return fresh  # the store was deleted: all is to be mirrored again
    try:
        return json.loads(_path(root).read_text())
    except (OSError, ValueError):
        return fresh


def save(root: Path, notes: dict[str, Any]) -> None:
    """Replace the notes at one stroke."""
    path = _path(root)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(notes))
    new.replace(path)


def files(root: Path) -> list[Path]:
    """The event logs of a study, oldest attempt first."""
    found = (root / spool.EVENTS).glob("*.jsonl")
    return sorted(found, key=lambda path: path.stem.rsplit("-", 2)[1:])


def stale(root: Path) -> bool:
    """Whether a log has grown, or its writer died, since the notes were taken."""
    found = load(root)
    known = found["files"]
    if found.get("settled") is False:
        return True  # the last pass was cut short
    for path in files(root):
        note = known.get(path.name, {})
        if note.get("done"):
            continue
        if path.stat().st_size != note.get("size", 0):
            return True
        if "process" in note and spool.gone(note["process"]):
            return True
    return False


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a file's lock; without `wait`, yield False where another process holds it.

    Raises Refused where the file system has no such locks.
    """
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        except OSError as error:
            raise Refused(
                f"{path} cannot be locked ({error.strerror}, {mounts.of(path)}): mount that file "
                "system with locks (Lustre: -o flock) or put results/ on a disk that has them"
            ) from None
        else:
            yield True  # closing the file gives the lock back, and so does dying


def store_lock(root: Path) -> Path:
    """The lock under which one store is written: beside an sqlite file, else in the study.

    Raises Refused where the sqlite file would lie on a network file system: its write-ahead log
    is shared memory, which other machines do not see; sqlite.org/wal.html.
    """
    file = database(uri(root))
    if file and (mount := mounts.network(file)):
        raise Refused(
            f"{file} would lie on a network file system ({mount}), where sqlite's write-ahead log "
            "breaks: set MLFLOW_TRACKING_URI to a server's address (docs/remote.md) or to "
            "sqlite:////<a local disk>/mlflow.db and run make sync; the events are kept"
        )
    return file.with_name(f"{file.name}.lock") if file else root / spool.EVENTS / "mirror.lock"


def _path(root: Path) -> Path:
    store = hashlib.sha256(masked(uri(root)).encode()).hexdigest()[:8]  # a new password is no move
    return root / spool.EVENTS / f"mirrored-{store}.json"
