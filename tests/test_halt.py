"""Notice of a time limit: it waits until a checkpoint, harms no other process, and is passed on."""

import os
import signal
import subprocess
import sys

import pytest

from steps import halt

STAGE = """
import os, signal, subprocess, sys
from steps import halt
from steps.stage import guard

def work():
    child = subprocess.Popen(["sleep", "60"])
    halt.kept()
    print("before", flush=True)
    os.kill(os.getpid(), signal.SIGUSR1)
    child.send_signal(signal.SIGUSR1)
    print("a child lives:", child.poll() is None, flush=True)
    child.kill()
    if "keeps" in sys.argv:
        halt.kept()
    print("after", flush=True)

sys.exit(guard(work))
"""


def stage(*arguments, **variables):
    env = {k: v for k, v in os.environ.items() if k != "SLURM_JOB_ID"}
    command = [sys.executable, "-c", STAGE, *arguments]
    return subprocess.run(command, env=env | variables, capture_output=True, text=True)


def test_a_stage_ends_at_the_checkpoint_after_the_notice():
    done = stage("keeps")
    assert done.returncode == halt.AGAIN != 0
    assert done.stdout.splitlines() == ["before", "a child lives: True"]
    assert done.stderr.splitlines() == [
        "sightline: the time limit is near: ended at a checkpoint, to go on"
    ]


def test_a_stage_without_checkpoints_works_on():
    done = stage()
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "after"


@pytest.mark.parametrize("status", [0, 1])
def test_slurm_is_told_and_whether_it_will_changes_nothing(status, tmp_path):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/told; exit {status}\n')
    scontrol.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert stage("keeps", SLURM_JOB_ID="17", PATH=path).returncode == halt.AGAIN
    assert (tmp_path / "told").read_text() == "requeue 17\n"


def test_nothing_is_near_without_notice():
    assert not halt.near()
    halt.kept()  # raises nothing
    assert signal.SIGUSR1 not in signal.sigpending()
