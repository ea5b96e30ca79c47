"""What Snakemake's Slurm executor is told beyond its profile, and what is looked at before it.

Used by the Snakefile: `ready` before anything is submitted, `attend` once the executor is there.
"""

import asyncio
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from steps.stage import StageError

PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol")


def ready(seconds: float = 30) -> None:
    """Raise StageError where there is no Slurm to submit to, or none that answers in time.

    Snakemake deletes what a job is about to make before it submits the job, and would find out
    only then.
    """
    stay = "nothing was submitted, nothing deleted"
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        raise StageError(
            f"--executor slurm: there is no {missing[0]} on PATH, so {stay}; run this where "
            "Slurm's commands are, or without the profile"
        )
    ping = ["scontrol", "ping"]
    try:
        asked = subprocess.run(ping, capture_output=True, text=True, timeout=seconds)
        said = asked.stdout + asked.stderr
    except subprocess.TimeoutExpired:
        said = f"no answer in {seconds:g} s"
    if " is UP" not in said:
        raise StageError(
            f"--executor slurm: `scontrol ping` says {' '.join(said.split())!r}, so {stay}; "
            "try again when slurmctld is up"
        )


def attend(executor: Any, logs: Path) -> None:
    """Set what the executor has no option for: how often it looks, and where Slurm's logs lie.

    It lengthens the pause between two looks by 10 s each time that nothing has ended, up to three
    minutes, which every level of the DAG would wait at its end. Here the pause stays the one before
    the first look (init-seconds-before-status-checks).
    """
    settings = executor.workflow.executor_settings
    executor.sleep = partial(asyncio.sleep, settings.init_seconds_before_status_checks)
    if settings.logdir is None:
        executor.slurm_logdir = logs.absolute()


def grow(rules: Any) -> None:
    """Let each new attempt at a job have more memory and time: two, three times its rule's.

    rules: the workflow's. What is an expression already, in a profile perhaps, stays as it is.
    """
    for rule in rules:
        for name in ("mem_mb", "runtime"):
            asked = rule.resources.get(name)
            if asked is not None and not asked.is_evaluable() and isinstance(asked.value, int):
                rule.resources[name] = partial(_times, asked.value)


def _times(amount: int, wildcards: Any, attempt: int) -> int:
    return amount * attempt
