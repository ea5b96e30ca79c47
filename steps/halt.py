"""A time limit that is near: a stage ends at its next checkpoint, and goes on from it later.

A batch system gives notice by SIGUSR1 (Slurm: `--signal`). The signal is blocked, here and in every
process that a stage starts, and so does no harm to those who know nothing of it; it stays pending,
which is all the note that is needed. A stage that has no checkpoints works on: it may still be in
time. It ends only at the checkpoints that it writes anyway, so that a run in pieces gives what a
whole one gives.
"""

import os
import signal
import subprocess
import sys

AGAIN = os.EX_TEMPFAIL
"""The exit status of a stage that is to be started again."""


class Halted(SystemExit):
    """The stage ended at a checkpoint because its time limit is near."""

    def __init__(self) -> None:
        super().__init__(AGAIN)


def watch() -> None:
    """Let SIGUSR1 wait until it is asked for; to be called before any thread is started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})


def near() -> bool:
    """Whether notice was given that this process's time is nearly up."""
    return signal.SIGUSR1 in signal.sigpending()


def kept() -> None:
    """To be called after each checkpoint that is not the last: raises Halted where time is up."""
    if near():
        raise Halted


def again() -> int:
    """Say that the stage is to go on, to Slurm too where this is a job of its; the exit status.

    A job that Slurm queues again keeps its number, and whoever waits for it waits on. Where it
    cannot be, the exit status is a failure, and Snakemake's to try again.
    """
    print("sightline: the time limit is near: ended at a checkpoint, to go on", file=sys.stderr)
    if job := os.environ.get("SLURM_JOB_ID"):
        subprocess.run(["scontrol", "requeue", job], stdout=sys.stderr)
    return AGAIN
