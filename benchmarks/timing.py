"""Run a command and weigh it: the part that the benchmarks share."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks import steps from whatever folder they are started


@dataclass(frozen=True)
class Cost:
    """Wall and CPU seconds of a command and all that it started, and its largest process in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    text: str


def cost(command: list[str], cwd: Path = ROOT, **variables: str) -> Cost:
    """Run `command` in this environment and wait; exits with its output if it fails."""
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | variables
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout
    text = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{text}\n{' '.join(command)}: exit status {process.returncode}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, text)


def pipeline(study: str, cwd: Path = ROOT) -> str:
    """The path of a study's dvc.yaml; its effective params are written on the way."""
    text = cost([sys.executable, "-m", "steps", "study"], cwd, SIGHTLINE_STUDY=study).text
    params = next(line for line in text.splitlines() if line.endswith("params.yaml"))
    return str(Path(params).with_name("dvc.yaml"))


def tell(**figures: Any) -> None:
    """Print one JSON object, rounded: the last line of a benchmark, for machines."""
    print(json.dumps(json.loads(json.dumps(figures), parse_float=lambda x: round(float(x), 3))))
