"""A GPU is one stage's at a time, whoever started the stage; fakes stand for the GPUs."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from steps import gpus, ranks
from steps.stage import StageError

HOLD = """
import sys
from pathlib import Path
from steps import gpus
gpus.POLL = 0.02
print(",".join(gpus.take(int(sys.argv[1]), sys.argv[2].split(","), Path(sys.argv[3]))), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """A function: a process that takes some of the fakes and holds them until its input ends."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    started = []

    def start(count, names="0,1"):
        command = [sys.executable, "-c", HOLD, str(count), names, str(tmp_path)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_each_is_taken_once_and_given_back_by_whatever_ends_a_process(hold):
    first, second = hold(1), hold(1)
    assert {first.stdout.readline(), second.stdout.readline()} == {"0\n", "1\n"}
    third = hold(1)
    assert third.stderr.readline() == "waiting for 1 of the GPUs 0, 1\n"
    time.sleep(0.2)
    assert third.poll() is None
    second.kill()  # a lock is the open file's: nothing has to be tidied up
    assert third.stdout.readline() in ("0\n", "1\n")


def test_two_that_need_all_do_not_wait_for_each_other_for_ever(hold):
    single = hold(1)
    assert single.stdout.readline() == "0\n"
    both = [hold(2), hold(2)]
    for process in both:
        assert "waiting for 2" in process.stderr.readline()
    other = hold(1)  # what waits for two holds none meanwhile
    assert other.stdout.readline() == "1\n"
    single.stdin.close()
    other.stdin.close()
    done = next(p for p in _until(both))
    assert done.stdout.readline() == "0,1\n"


def _until(processes):
    import select

    ready, _, _ = select.select([p.stdout for p in processes], [], [], 10)
    yield from (p for p in processes if p.stdout in ready)


def test_what_cuda_may_see_is_what_is_counted(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5f1a")
    assert gpus.visible() == ["2", "GPU-5f1a"]
    for nothing in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        assert gpus.visible() == [] == gpus.take()


def test_more_processes_than_gpus_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(StageError, match="train.processes = 3: this machine has 2 GPUs"):
        gpus.take(3, ["0", "1"], tmp_path)


def test_slurm_has_dealt_them_out(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert gpus.take(1, ["0"], tmp_path) == ["0"]
    assert not list(tmp_path.iterdir())


def taken(params, inputs, out):
    """What one of several processes does that train a model: it asks for a GPU, as any stage."""
    return {"gpus": len(gpus.take()), "seen": len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))}


@pytest.mark.slow
def test_processes_of_one_stage_have_what_it_took(tmp_path, monkeypatch):
    """They used to wait for ever for the GPUs that the process that began them held."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "91,92,93")
    monkeypatch.setattr(gpus, "_held", [])
    run = SimpleNamespace(checkpoints=None, seed=0, threads=2)
    params = SimpleNamespace(train=SimpleNamespace(processes=2, shard=False), run=run)
    assert ranks.spread(taken, params, {}, tmp_path) == {"gpus": 1, "seen": 2}
