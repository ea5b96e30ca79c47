"""Batches that other processes draw ahead are those drawn in line, and no process is left over."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from importlib import import_module

import numpy as np
import psutil
import pytest

from steps.models import feed
from steps.stage import StageError
from tests import toy
from tests.models.test_killed import NEEDS, told


def drawn(step, rng):
    if step == 90:
        os.kill(os.getpid(), signal.SIGKILL)
    return step, rng.random(3)


def children():
    """Processes of ours that draw."""
    found = psutil.Process().children(recursive=True)
    return [p for p in found if "spawn_main" in " ".join(p.cmdline())]


def test_only_beside_a_gpu_do_other_processes_draw(monkeypatch):
    assert feed.workers("cpu") == 0
    for cores, count in ((1, 0), (2, 1), (8, 3), (64, 3)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert feed.workers("cuda") == count


@pytest.mark.slow
def test_batches_come_in_the_order_of_steps_and_processes_end():
    steps = range(5, 40)
    with closing(feed.batches(drawn, 7, steps, 2)) as batches:
        for step, (number, values) in zip(steps, batches, strict=True):
            assert number == step
            assert np.array_equal(values, np.random.default_rng([7, step]).random(3))
    with closing(feed.batches(drawn, 7, steps, 2)) as batches:
        assert next(batches)[0] == 5
        assert len(children()) == 2
    assert children() == []


@pytest.mark.slow
def test_a_lost_process_is_said_and_not_waited_for():
    begun = time.monotonic()
    with pytest.raises(StageError, match="a process that draws batches was lost"):
        list(feed.batches(drawn, 0, range(88, 200), 2))
    assert time.monotonic() - begun < 30 and children() == []


PARENT = """
from steps.models import feed
from tests.models.test_feed import drawn
if __name__ == "__main__":
    for step, _ in feed.batches(drawn, 0, range(10), 2):
        print(step, flush=True)
        input()
"""


@pytest.mark.slow
def test_a_killed_parent_leaves_nobody(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    env = toy.surroundings({"PYTHONPATH": str(toy.ROOT)})
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert parent.stdout.readline() == "0\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= 2
    finally:
        parent.kill()
        parent.communicate()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


@pytest.mark.slow
def test_every_part_has_the_same_losses_and_weights_by_workers(tmp_path, monkeypatch):
    """All four parts in a tiny size, on the CPU; the world's own scenes, drawn here and there."""
    monkeypatch.setattr("steps.models.load.device", lambda: "cpu")
    for workers in (0, 2):
        monkeypatch.setattr(feed, "workers", lambda device, workers=workers: workers)
        for stage, needs in NEEDS.items():
            out = tmp_path / str(workers) / stage
            out.mkdir(parents=True)
            given = told(stage, tmp_path / "checkpoints" / str(workers) / stage)
            inputs = {name: out.parent / name for name in needs}
            import_module(f"steps.models.{stage}").run(given, inputs, out)
    for stage in NEEDS:
        folders = [tmp_path / str(workers) / stage for workers in (0, 2)]
        here, there = ({p.name: p.read_bytes() for p in f.iterdir()} for f in folders)
        assert here == there and "losses.json" in here


@pytest.mark.slow
@pytest.mark.parametrize("stage", NEEDS)
def test_what_draws_needs_no_torch(stage):
    ask = f"import sys; from steps.models.{stage} import Draw; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", ask], cwd=toy.ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
