"""A Slurm for the tests here, and a stand-in of the repository whose jobs it runs."""

import os
import shutil
import subprocess

import pytest

from tests import toy
from tests.slurm import cluster

PROFILE = ("--workflow-profile", "workflow/profiles/slurm", "--cores", "2")
TRAINING = '''"""Steps in twos between checkpoints, without an end; twenty more after a restart."""

import os
import time
from pathlib import Path

from steps import halt


def run(params, inputs, out):
    """Write down each step, and by which process it was done."""
    if os.environ.get("TOY") == "greedy":
        held = os.urandom(2**20) * 700
        time.sleep(6)
        return {"sft/held": len(held)}
    kept = params.run.checkpoints / "steps"
    first = int(kept.read_text()) if kept.exists() else 0
    for step in range(first, first + 20 if first else 10_000):
        with open("ran", "a") as told:
            print(step, os.getpid(), os.environ["SLURM_JOB_ID"], file=told)
        time.sleep(0.2)
        if step % 2:
            kept.write_text(str(step + 1))
            halt.kept()
    return {"sft/steps": step + 1}
'''
BEFORE = [f"results/embedded/{name}" for name in ("pairs/bundled/seed0",)]
TRAINED = "results/embedded/model/bundled/sft/seed0"


@pytest.fixture(scope="session")
def slurm(need_debian, tmp_path_factory):
    """The environment variables that lead to a Slurm of our own.

    Where Debian's packages are installed and the daemons do not come up, that is a failure.
    """
    for program, package in cluster.PROGRAMS.items():
        found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        need_debian(package, found or f"/usr/sbin/{program}")
    with cluster.running(tmp_path_factory.mktemp("slurm")) as leads:
        yield leads


@pytest.fixture(scope="session")
def begun(slurm, tmp_path_factory):
    """A stand-in whose first stages ran as Slurm jobs, with what Snakemake said; read it only."""
    folder = toy.build(tmp_path_factory.mktemp("begun") / "study")
    done = toy.call(folder, "snakemake", *PROFILE, *BEFORE, **slurm)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout + done.stderr


@pytest.fixture
def training(begun, tmp_path):
    """A copy in which everything is there that a long training of the arm `sft` needs."""
    folder = shutil.copytree(begun[0], tmp_path / "study", symlinks=True)
    (folder / "steps/posttrain/sft.py").write_text(TRAINING)
    return folder


@pytest.fixture
def submit(slurm):
    """`submit(folder, *arguments, **variables)`: a Snakemake under our Slurm, as it starts."""
    started = []

    def start(folder, *arguments, **variables):
        with (folder / "said").open("w") as said:
            process = subprocess.Popen(
                toy.line(("snakemake", *PROFILE, *arguments)),
                cwd=folder,
                env=toy.surroundings({**variables, **slurm}),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()  # SIGTERM would let jobs end, some of which have no end
            process.wait()
    subprocess.run(["scancel", "--me"], env={**os.environ, **slurm}, check=True)


@pytest.fixture
def jobs(slurm):
    """`jobs(format)`: a line for each of Slurm's jobs, the oldest first, in squeue's format."""

    def ask(form):
        command = ["squeue", "--states=all", "--noheader", "--sort=i", f"--Format={form}"]
        done = subprocess.run(command, env={**os.environ, **slurm}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [line.split() for line in done.stdout.splitlines()]

    return ask
