"""The event log: what a stage tells about itself while it runs, as lines of JSON.

Every attempt at a stage appends to a file of its own, `results/<study>/.events/<stage>-<base>-
<arm>-<seed>-<attempt>.jsonl`, outside everything that the engines compare. A line is one write,
so that a kill tears at most the last one, which readers leave out. `steps.mirror` carries the
lines over to MLflow from a process of its own: a stage never waits for it, never fails because of
it and never imports it. Only the standard library is needed here.

In a stage:           from steps.track import log
                      log.metric("train/loss", loss, step)
Around it (stage.py): track.start(...) before, track.finish(...) once the folder is in place.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from steps import spool

SYNC_SECONDS = 20.0  # while metrics come in, a mirror is started at most this often


def start(
    root: Path,
    study: str,
    stage: str,
    base: str | None,
    arm: str | None,
    seed: int | None,
    params: dict[str, Any],
    out: Path | None = None,
    final: Path | None = None,
    about: dict[str, Any] | None = None,
) -> str:
    """Open the event log of one attempt at a stage and return the attempt's id.

    `root` is `results/<study>`. `out` is the private folder that the stage writes into, `final`
    the place that it is renamed to: figures and models in `out` are noted under `final`, where
    the mirror will find them. `about`: what readers are told of study and arm beside it. A disk
    that refuses the log is a warning on stderr, no more: a study is not lost for its log.
    """
    attempt = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}"
    parts = (stage, *("_" if x is None else str(x) for x in (base, arm, seed)), attempt)
    name = "-".join(re.sub(r"[^\w.=-]", "_", part) for part in parts) + ".jsonl"
    log._open(Path(root).absolute(), name, out, final)
    log._write(
        "start",
        study=study,
        stage=stage,
        base=base,
        arm=arm,
        seed=seed,
        attempt=attempt,
        params=params,
        about=about or {},
        commit=_commit(),
        process=spool.process(os.getpid()),
        command=sys.argv,
    )
    return attempt


def finish(status: str, metrics: dict[str, float], record: dict[str, Any]) -> None:
    """Close the log: status `finished`, `failed` or `killed`, the stage's metrics, its record.

    Starts the mirror and returns at once; with no log open it does nothing.
    """
    if status not in ("finished", "failed", "killed"):
        raise ValueError(f"status is '{status}': give finished, failed or killed")
    if log._fd is not None:
        log._write("finish", status=status, metrics=metrics, record=record, folder=log._folder())
        log._close()
        mirror(log._root)


class Log:
    """What a stage may tell while it runs. With no log open, every call does nothing."""

    _fd: int | None = None

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """One point of a curve; `step` is the x axis, such as optimiser steps."""
        if self._fd is not None:
            self._write("metric", name=name, value=float(value), step=int(step or 0))
            self._sync()

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """One point of each of several curves."""
        for name, value in values.items():
            self.metric(name, value, step)

    def sample(self, values: dict[str, float], step: int) -> None:
        """What the machine does meanwhile (steps/meter.py): points that start no mirror."""
        for name, value in values.items():
            self._write("metric", name=name, value=value, step=step)

    def dataset(self, name: str, digest: str, context: str) -> None:
        """A data set that was read: its name, a digest of its content, its use (train, test)."""
        self._write("dataset", name=name, digest=digest, context=context)

    def figure(self, path: Path | str) -> None:
        """A picture (or other small file) in the stage's folder, to be shown in MLflow."""
        self._write("figure", path=self._place(path))

    def model(self, folder: Path | str) -> None:
        """A model's folder, noted by reference: its files are not copied."""
        self._write("model", folder=self._place(folder))

    def text(self, text: str) -> None:
        """A line of notes."""
        self._write("text", text=text)

    def resume(self, step: int) -> None:
        """Say that work goes on from the checkpoint taken after `step`.

        The last attempt's points up to that step are copied, so that this attempt's curves are
        whole and the killed one may be dropped. Samples stay behind: their steps are looks.
        """
        if self._fd is None:
            return
        mine, _ = spool.read(self._path)
        if not mine:
            return
        alike = self._path.name.removesuffix(f"{mine[0]['attempt']}.jsonl")
        for path in sorted(self._path.parent.glob(f"{alike}*.jsonl"), reverse=True):
            events, _ = spool.read(path)
            if path < self._path and events and _same(events[0], mine[0]):
                for event in events:
                    curve = event["event"] == "metric" and not event["name"].startswith("system/")
                    if curve and event["step"] <= step:
                        self._append(event)
                return

    def handed(self) -> dict[str, Any] | None:
        """What another process needs to go on with this log (`taken`); None where none is open."""
        if self._fd is None:
            return None
        return {"root": self._root, "path": self._path, "out": self._out, "final": self._final}

    def taken(self, log: dict[str, Any] | None) -> None:
        """Go on with a log that the process that started this one has opened."""
        if log is not None:
            self._root, self._path = log["root"], log["path"]
            self._out, self._final = log["out"], log["final"]
            self._synced, self._torn = time.monotonic(), False
            self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)

    def _open(self, root: Path, name: str, out: Path | None, final: Path | None) -> None:
        self._close()
        self._root, self._path = root, root / spool.EVENTS / name
        self._out, self._final = out and Path(out).absolute(), final and Path(final).absolute()
        self._synced, self._torn = time.monotonic(), False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
            self._fd = os.open(self._path, flags, 0o644)
        except OSError as error:
            print(f"track: this stage keeps no event log ({error})", file=sys.stderr)

    def _write(self, event: str, **fields: Any) -> None:
        if self._fd is not None:
            self._append({"event": event, "time": round(time.time(), 3), **fields})

    def _append(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, default=str).encode() + b"\n"
        line = b"\n" * self._torn + line  # after a write cut short, on a line of its own
        try:
            self._torn = os.write(self._fd, line) < len(line)  # type: ignore[arg-type]
        except OSError as error:
            if not self._torn:
                print(f"track: an event was not logged ({error})", file=sys.stderr)
            self._torn = True

    def _place(self, path: Path | str) -> str:
        path = Path(path).absolute()
        if self._fd is not None and self._out and self._final and path.is_relative_to(self._out):
            path = self._final / path.relative_to(self._out)
        return str(path)

    def _folder(self) -> str | None:
        return str(self._final) if self._final else None

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _sync(self) -> None:
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self._synced = time.monotonic()
            mirror(self._root)


log = Log()


def mirror(root: Path) -> None:
    """Start `python -m steps.mirror` on one study's folder, detached, and return at once.

    The shell in between ends at once, so that the mirror is nobody's child: engines neither wait
    for it nor count its memory as the stage's. With SIGHTLINE_MIRROR=off none is started.
    """
    if os.environ.get("SIGHTLINE_MIRROR") == "off":
        return
    here = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(p for p in (here, os.environ.get("PYTHONPATH")) if p)
    command = [sys.executable, "-m", "steps.mirror", "--root", str(root)]
    try:
        with open(root / spool.EVENTS / "mirror.log", "ab") as output:
            subprocess.Popen(
                ["/bin/sh", "-c", 'nice -n 5 "$@" &', "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": path},
            ).wait(timeout=2)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"track: no mirror was started ({error}); run make sync", file=sys.stderr)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(k) == other[k] for k in ("stage", "base", "arm", "seed", "params"))


def _commit() -> str | None:
    """The commit of this code, `-dirty` if edited; None outside a repository. One git call."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # never in another git's way
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(command, cwd=here, env=env, capture_output=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout.decode().strip() or None) if done.returncode == 0 else None
