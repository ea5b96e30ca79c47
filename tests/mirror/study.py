"""A small study for the mirror's tests, and eyes on what MLflow has of it."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from steps import track
from steps.mirror import notes, store
from steps.track import log

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 600  # seconds; MLflow's server starts in 9, or in minutes on a busy machine


def begin(root, stage="sft", base="bundled", arm="sft", seed=0, params=None, **kwargs):
    return track.start(root, "study", stage, base, arm, seed, params or {"lr": 1e-3}, **kwargs)


def whole_stage(root, stage="sft", score=0.5, steps=3, **kwargs):
    begin(root, stage, **kwargs)
    for step in range(steps):
        log.metric("train/loss", 1 / (step + 1), step)
    track.finish("finished", {f"{stage}/score": score}, {"wall_s": 1.5, "host": "here"})


def client(root):
    with notes.locked(notes.store_lock(root)):
        return store.connect(root)


def runs(root, view=1, parents=False):
    """Every run of the study; view 1: live, 2: deleted, 3: all."""
    mlflow = client(root)
    experiment = mlflow.get_experiment_by_name("study")
    found = mlflow.search_runs([experiment.experiment_id], run_view_type=view)
    return [run for run in found if ("mlflow.parentRunId" not in run.data.tags) == parents]


def curve(root, run, name="train/loss"):
    history = client(root).get_metric_history(run.info.run_id, name)
    return [(m.step, m.value) for m in sorted(history, key=lambda m: (m.step, m.timestamp))]


def loss(steps):
    return [(step, 1 / (step + 1)) for step in range(steps)]


def table(database, query):
    """Rows straight from the file, as another process wrote them; none while it is not there."""
    if not database.exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as opened:
            return opened.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


def until(true, what):
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.3)
    return found


WRITER = """
import sys, time
from pathlib import Path
from steps import track
from steps.track import log
root, stage, steps, then = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
track.SYNC_SECONDS = 0.5
slowest = 0.0
track.start(root, "study", stage, "bundled", "sft", 0, {"lr": 1e-3})
for step in range(steps):
    log.metric("train/loss", 1 / (step + 1), step)
if then == "sleep":
    print("ready", flush=True)
    time.sleep(600)
if then != "finish":  # a stage that goes on for so many seconds
    end = time.monotonic() + float(then)
    while time.monotonic() < end:
        began = time.monotonic()
        log.metric("late", 1.0, 0)
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.1)
began = time.monotonic()
track.finish("finished", {f"{stage}/score": 0.5}, {})
print(max(slowest, time.monotonic() - began))
"""


def writer(root, stage="sft", steps=3, then="finish", **environment):
    """A stage in a process of its own; it prints what its slowest call to the log took."""
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    arguments = [sys.executable, "-c", WRITER, str(root), stage, str(steps), then]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, env=env, cwd=root.parents[1]
    )
