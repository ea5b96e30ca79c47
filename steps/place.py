"""Where a stage writes: a private folder first, then its place; checkpoints outside both."""

import errno
import hashlib
import json
import os
import re
import shutil
import socket
import uuid
from pathlib import Path
from typing import Any

_HOST = socket.gethostname().replace("-", "_")
FULL = {errno.EFBIG, errno.ENOSPC, errno.EROFS, errno.EDQUOT}
"""Error numbers of a disk that takes no more."""
_UNWRITTEN = re.compile(r"requested and \d+ written|enforce fail at inline_container")


class Place:
    """The folders around one stage's output folder `out`.

    `root` is the study's folder, the nearest one above `out` that bears the study's name, or the
    folder that holds `out` where there is none (a stage called by hand).
    """

    def __init__(self, out: Path, study: str) -> None:
        self.out = out
        self.root = next((p for p in out.absolute().parents if p.name == study), out.parent)
        self._temporary: Path | None = None
        self._checkpoints: Path | None = None

    def temporary(self) -> Path:
        """A new empty folder beside `out`; those left by dead processes of this host go."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        for old in self.out.parent.glob(f".{self.out.name}.tmp-{_HOST}-*"):
            if not _alive(int(old.name.rsplit("-", 2)[1])):
                shutil.rmtree(old, ignore_errors=True)
        self._temporary = private(self.out)
        self._temporary.mkdir()
        return self._temporary

    def checkpoints(self, facts: dict[str, Any]) -> Path:
        """The folder for resumable state that belongs to exactly these facts."""
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        levels = [facts[k] for k in ("base", "arm", "seed") if facts[k] is not None]
        name = "-".join([facts["stage"], *map(str, levels)])
        self._checkpoints = self.root / ".checkpoints" / name / key
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        return self._checkpoints

    def drop_checkpoints(self) -> None:
        """Remove this run's checkpoints and those of its earlier versions."""
        if self._checkpoints:
            shutil.rmtree(self._checkpoints.parent, ignore_errors=True)

    def tidy(self) -> None:
        """Remove the private folder, and checkpoint folders that hold nothing."""
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)
        empty = self._checkpoints
        while empty and empty != self.root and empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()
            empty = empty.parent

    def write_record(self, record: dict[str, Any]) -> None:
        """Put the record beside `out`, whole or not at all. A full disk does not matter here."""
        path = self.out.with_name(f"{self.out.name}.record.json")
        half = private(path)
        try:
            half.write_text(json.dumps(record, indent=1))
            half.replace(path)
        except OSError:
            half.unlink(missing_ok=True)


def private(path: Path) -> Path:
    """A name beside `path` that no other process uses; it begins with a dot."""
    return path.with_name(f".{path.name}.tmp-{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}")


def publish(temporary: Path, out: Path) -> None:
    """Rename a complete folder into its place; an older one there is deleted after that."""
    old = []
    while True:
        try:
            temporary.rename(out)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        aside = private(out)
        try:
            out.rename(aside)
        except FileNotFoundError:  # another process was faster; try again
            continue
        old.append(aside)
    for aside in old:
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
    handle = os.open(out.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def full(error: Exception) -> bool:
    """Whether an exception says that nothing more can be written.

    Not every library raises an OSError with its number: safetensors has an exception of its own
    with `(os error 28)` in its text, numpy and torch say how much they could not write.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    number = re.search(r"\((?:os error|errno) (\d+)\)", str(error))
    if number:
        return int(number[1]) in FULL
    return bool(_UNWRITTEN.search(str(error)))
