"""A real Slurm on this machine's loopback: munged, slurmctld and slurmd, from Debian's packages.

    python -m tests.slurm.cluster snakemake --workflow-profile workflow/profiles/slurm

starts one, runs the command under it and stops it. It needs neither systemd nor cgroups nor a
database: processes are found by their parents, jobs are asked for with squeue, memory is watched by
sampling. One node of the given size, with one GPU that is /dev/null.
"""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "squeue": "slurm-client",
    "sinfo": "slurm-client",
}
"""What has to be there, and the Debian package that brings it."""

CONF = """\
ClusterName=sightline
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
KillWait={kill_wait}
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=one NodeHostname=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1
PartitionName=here Nodes=one Default=YES MaxTime=INFINITE State=UP
"""
# cred_expire: a job that is queued again waits for so long, two minutes by default.


class NoStart(RuntimeError):
    """The daemons are installed and do not come up; the text holds the end of their logs."""


@contextmanager
def running(
    folder: Path, cpus: int = 2, memory: int = 32_000, kill_wait: int = 10
) -> Iterator[dict[str, str]]:
    """Start the daemons in `folder` and give the environment variables that lead to them.

    memory: MB that the node says it has; nobody checks. kill_wait: seconds from SIGTERM to
    SIGKILL. All jobs and daemons are gone afterwards; should this process be killed, the daemons
    are told to end by the kernel. Raises NoStart.
    """
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    controller, daemon = _free_ports(2)
    told = {"controller": controller, "daemon": daemon, "folder": folder, "cpus": cpus}
    told |= {"user": pwd.getpwuid(os.getuid()).pw_name, "memory": memory, "kill_wait": kill_wait}
    (folder / "slurm.conf").write_text(CONF.format(**told))
    (folder / "gres.conf").write_text("NodeName=one Name=gpu File=/dev/null\n")
    env = {**os.environ, **_leads(folder)}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
    socket_path = folder / "munge.socket"
    with ExitStack() as stack:
        munged = ["munged", "--foreground", "--force", f"--socket={socket_path}", *munge]
        stack.enter_context(_daemon(munged, folder, env))
        _until(socket_path.exists, 10, folder)
        stack.enter_context(_daemon(["slurmctld", "-D"], folder, env))
        stack.enter_context(_daemon(["slurmd", "-D", "-N", "one"], folder, env))
        stack.callback(_no_jobs, env)
        _until(lambda: _says(["sinfo", "-h", "-o", "%T"], env) == "idle", 60, folder)
        yield _leads(folder)


def _leads(folder: Path) -> dict[str, str]:
    """SLURM_CONF, and a PATH on which an srun comes first that knows it without.

    In a job the executor drops most of Slurm's variables, this one too: a cluster has its file at
    the place that was compiled in.
    """
    config, programs = folder / "slurm.conf", folder / "bin"
    if not programs.is_dir():
        programs.mkdir()
        for name in ("srun", "scontrol"):
            real = shutil.which(name) or name
            (programs / name).write_text(f'#!/bin/sh\nSLURM_CONF={config} exec {real} "$@"\n')
            (programs / name).chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {"SLURM_CONF": str(config), "PATH": path}


@contextmanager
def _daemon(command: list[str], folder: Path, env: dict[str, str]) -> Iterator[None]:
    program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        raise NoStart(f"no {command[0]}: apt-get install {PROGRAMS[command[0]]}")
    line = ["setpriv", "--pdeathsig", "TERM", program, *command[1:]]
    with (folder / f"{command[0]}.out").open("w") as out:
        process = subprocess.Popen(line, env=env, stdout=out, stderr=out, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _no_jobs(env: dict[str, str]) -> None:
    """Cancel what is queued or runs, and wait until it is gone."""
    subprocess.run(["scancel", "--me"], env=env, capture_output=True)
    end = time.monotonic() + 30
    while _says(["squeue", "-h"], env) and time.monotonic() < end:
        time.sleep(0.2)


def _says(command: list[str], env: dict[str, str]) -> str:
    return subprocess.run(command, env=env, capture_output=True, text=True).stdout.strip()


def _until(ready, seconds: float, folder: Path) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            logs = [*folder.glob("*.out"), *folder.glob("*.log")]
            ends = [f"{path.name}:\n{path.read_text(errors='replace')[-1500:]}" for path in logs]
            raise NoStart("Slurm did not come up; the ends of its logs:\n" + "\n".join(ends))
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def main(command: list[str]) -> int:
    """Run a command under a Slurm of its own; returns the command's exit status."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, running(Path(folder)) as leads:
        return subprocess.run(command, env={**os.environ, **leads}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
