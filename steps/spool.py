"""The event log's reading side: lines of a stage's log, and whether who wrote them still lives.

Standard library only: `steps.track` writes with it, `steps.mirror` looks with it before it pays
for importing MLflow.
"""

from __future__ import annotations

import json
import os
import socket
from itertools import islice
from pathlib import Path
from typing import Any

EVENTS = ".events"  # below results/<study>, outside every stage's outputs


def key(study: str, stage: str, base: str | None, arm: str | None, seed: int | None) -> str:
    """The name by which a stage is found in MLflow (tag `sightline.key`), the same every time."""
    return "/".join([study, stage, *("-" if x is None else str(x) for x in (base, arm, seed))])


def read(path: Path, offset: int = 0, lines: int | None = None) -> tuple[list[dict[str, Any]], int]:
    """The events on the next `lines` lines (None: all) from byte `offset`, and where they end.

    What follows the last newline is torn (or being written) and left for later; a whole line that
    is not an event (a write once cut short by a full disk) is passed over.
    """
    events = []
    with open(path, "rb") as file:
        file.seek(offset)
        for line in islice(file, lines):
            if not line.endswith(b"\n"):
                break
            offset += len(line)
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event:
                events.append(event)
    return events, offset


def process(pid: int) -> dict[str, Any]:
    """What tells a process from any other: host, boot, pid namespace, pid and its start time.

    `began` is in clock ticks since boot (/proc/<pid>/stat, field 22); None if there is no such
    process, -1 where the system has no /proc.
    """
    found: dict[str, Any] = {"host": socket.gethostname(), "pid": pid, "began": -1}
    try:
        found["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        found["space"] = os.readlink("/proc/self/ns/pid")
    except OSError:
        return found
    try:  # the command's name stands in brackets and may itself hold blanks and brackets
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found["began"] = None if stat[0] in "ZX" else int(stat[19])
    except OSError:
        found["began"] = None
    return found


def gone(was: dict[str, Any]) -> bool:
    """Whether the process noted by `process` has ended; False where that cannot be known.

    Another host, or another container, is out of sight. After a reboot nothing is left. A pid
    given to a new process is told by its start time.
    """
    now = process(was["pid"])
    if now["host"] != was["host"]:
        return False
    if now.get("boot") != was.get("boot"):
        return True
    if now.get("space") != was.get("space"):
        return False
    if now["began"] != -1:
        return now["began"] != was["began"]
    try:
        os.kill(was["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False
