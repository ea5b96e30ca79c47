"""The study as jobs of a real Slurm, which are cancelled, out of time and out of memory."""

import subprocess
import time

import pytest

from steps import manifest
from tests import smoke, toy
from tests.slurm.conftest import BEFORE, PROFILE, TRAINED

pytestmark = pytest.mark.slow

GROUPS = {
    "start": ("base", "items", "probes", "none"),
    "tower": ("extract", "features"),
    "looks": (
        *("vqa", "sharpen", "tokens", "gaze", "swap", "drift", "localise", "reuse", "turned"),
        *("classify", "segment", "forget"),
    ),
    "diff": ("harvest", "dictionary", "compare", "quality", "spatial", "heads", "intervene"),
}
"""Stages of the smoke study that share a Slurm job; each other one, and each training, has its own.

More than the profile groups, for stages of a second or two: what a job costs is not under test.
"""


def wait(process, folder, seconds=600):
    assert process.wait(seconds) == 0, (folder / "said").read_text()[-5000:]
    return (folder / "said").read_text()


def ran(folder):
    """The steps that were done, in order, and what did them: processes, Slurm's jobs."""
    path = folder / "ran"
    rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    processes, found = ({row[n]: None for row in rows} for n in (1, 2))
    return [int(row[0]) for row in rows], list(processes), list(found)


def reached(folder, process, steps):
    while len(ran(folder)[0]) < steps:
        assert process.poll() is None, (folder / "said").read_text()[-5000:]
        time.sleep(0.2)


def test_stages_run_as_jobs_small_ones_in_one_of_them(begun, slurm):
    folder, said = begun
    manifest.check(folder / BEFORE[0])
    assert said.count("has been submitted with SLURM jobid") == 2  # base and items; pairs
    assert "group_start" in said
    # Logs of jobs lie beside those of stages, which alone are kept where all went well.
    logs = folder / "results/embedded/logs"
    assert said.count(f"(log: {logs}/slurm/") == 2 and not list(logs.glob("slurm/*"))
    assert (logs / "pairs/bundled/seed0.log").is_file()
    again = toy.call(folder, "snakemake", *PROFILE, *BEFORE, **slurm)
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr


def test_a_job_asks_for_what_its_rule_says(training, submit, jobs):
    process = submit(training, TRAINED, "--retries", "0")
    reached(training, process, 1)
    number = ran(training)[2][0]
    form = "JobID:.20,TimeLimit:.20,MinMemory:.20,NumCPUs:.20,tres-per-job:.30,Command:.40"
    (asked,) = [row[1:5] for row in jobs(form) if row[0] == number]
    assert asked == ["2:00:00", "3000M", "1", "gres:gpu:1"]


def test_a_cancelled_job_is_started_again_and_goes_on(training, submit, slurm, jobs):
    process = submit(training, TRAINED)
    reached(training, process, 11)
    (first,) = ran(training)[2]
    done = subprocess.run(["scancel", first], env=toy.surroundings(slurm), capture_output=True)
    assert done.returncode == 0, done.stderr
    said = wait(process, training)
    steps, processes, numbers = ran(training)
    assert len(processes) == 2 and len(numbers) == 2
    assert {row[0]: row[1] for row in jobs("JobID:.20,State:.20") if row[0] in numbers} == {
        first: "CANCELLED",
        numbers[1]: "COMPLETED",
    }
    # What the last checkpoint did not hold, one step or two, was done twice; nothing else.
    assert said.count("Trying to restart job") == 1
    assert len(steps) - len(set(steps)) in (1, 2) and set(steps) == set(range(max(steps) + 1))
    manifest.check(training / TRAINED)


def test_a_training_out_of_time_is_queued_again_and_goes_on_from_its_checkpoint(
    training, submit, jobs
):
    extra = "slurm_extra='--signal=USR1@20 --open-mode=append'"
    limit = ("--set-resources", "sft:runtime=2", "--default-resources", extra)
    said = wait(submit(training, TRAINED, *limit), training)
    steps, processes, (number,) = ran(training)
    assert steps == list(range(max(steps) + 1))  # not one step was lost or done twice
    assert len(processes) == 2 and max(steps) > 40
    rows = [row[1:] for row in jobs("JobID:.20,State:.20,RestartCnt:.20") if row[0] == number]
    assert rows == [["COMPLETED", "1"]]
    assert "Error in rule" not in said and "restart" not in said
    manifest.check(training / TRAINED)


def test_a_job_killed_for_its_memory_is_given_more(training, submit, jobs):
    before = {row[0] for row in jobs("JobID:.20")}
    said = wait(
        submit(training, TRAINED, "--set-resources", "sft:mem_mb=600", TOY="greedy"), training
    )
    rows = [row for row in jobs("JobID:.20,State:.20,MinMemory:.20") if row[0] not in before]
    assert [row[2] for row in rows] == ["600M", "1200M"]
    assert rows[0][1] != "COMPLETED" and rows[1][1] == "COMPLETED"
    assert said.count("Trying to restart job") == 1
    manifest.check(training / TRAINED)


def test_the_smoke_study_reaches_its_report(submit, slurm, tmp_path):
    folder = smoke.copy(tmp_path / "smoke")
    none = ("--resources", "gpu=0")  # as on a cluster that has no GPU
    groups = ("--groups", *(f"{name}={group}" for group in GROUPS for name in GROUPS[group]))
    together = ("--group-components", "start=8", "tower=8", "looks=12")
    process = submit(folder, *none, *groups, *together, SIGHTLINE_STUDY=smoke.STUDY)
    said = wait(process, folder, seconds=4000)
    assert said.count("has been submitted with SLURM jobid") > 12
    manifest.check(folder / smoke.RESULTS / "report")
    done = smoke.call(folder, "steps", "verify", smoke.STUDY)
    assert done.returncode == 0, done.stdout + done.stderr
