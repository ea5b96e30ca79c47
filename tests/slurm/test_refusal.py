"""Where there is no Slurm: one sentence, before anything is submitted or deleted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from steps.stage import StageError
from steps.study import slurm
from tests import toy
from tests.slurm.conftest import PROFILE

ITEMS = "results/embedded/items/seed0"


@pytest.fixture
def without(tmp_path):
    """A PATH with everything that this machine has but Slurm's commands."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            link = folder / program.name
            if not (program.name in slurm.PROGRAMS or program.name == "sinfo" or link.is_symlink()):
                link.symlink_to(program)
    return str(folder)


@pytest.mark.slow
def test_without_slurm_a_run_is_refused_and_the_old_results_stay(without, tmp_path):
    folder = toy.build(tmp_path / "study")
    assert toy.call(folder, "snakemake", "--cores", "2", ITEMS).returncode == 0
    kept = {p: p.read_bytes() for p in (folder / ITEMS).rglob("*") if p.is_file()}
    assert len(kept) > 2
    (folder / "steps/data/items.py").open("a").write("# changed\n")
    line = [sys.executable, "-m", "snakemake", *PROFILE, ITEMS]
    env = toy.surroundings({}) | {"PATH": without}
    dry = subprocess.run([*line, "--dry-run"], cwd=folder, env=env, capture_output=True, text=True)
    assert dry.returncode == 0 and "Nothing to be done" not in dry.stdout + dry.stderr
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "there is no sbatch on PATH, so nothing was submitted, nothing deleted" in said
    assert "Traceback" not in said and "submitted with" not in said
    assert {p: p.read_bytes() for p in (folder / ITEMS).rglob("*") if p.is_file()} == kept


def commands(folder, ping):
    folder.mkdir()
    for name in slurm.PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\n{ping if name == 'scontrol' else 'exit 1'}\n")
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("ping", "told"),
    [
        ("echo 'Slurmctld(primary) at head is DOWN'; exit 1", "at head is DOWN'"),
        ("echo 'Could not establish a configuration source' >&2; exit 1", "configuration source'"),
        ("exec sleep 60", "no answer in 1 s"),
    ],
)
def test_a_controller_that_does_not_answer_is_named(ping, told, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", commands(tmp_path / "slurm", ping))
    with pytest.raises(StageError, match="nothing was submitted") as refused:
        slurm.ready(seconds=1)
    assert told in str(refused.value)


def test_a_controller_that_answers_is_enough(tmp_path, monkeypatch):
    ping = "echo 'Slurmctld(primary) at a is DOWN'; echo 'Slurmctld(backup) at b is UP'"
    monkeypatch.setenv("PATH", commands(tmp_path / "slurm", ping))
    assert shutil.which("sbatch", path=os.environ["PATH"])
    slurm.ready()
