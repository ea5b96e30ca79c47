"""What Snakemake adds to Slurm's own time for each level of the DAG.

python benchmarks/slurm.py [--levels 8] [--jobs 2] [--seconds 1]

Starts a Slurm of its own on this machine (tests/slurm/cluster.py) and has it run the same short
jobs twice, a level after the other: by `sbatch --wait` alone, and as rules at the end of the real
Snakefile, under the profile of workflow/profiles/slurm. Goal: 10 s a level.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import tell

from tests import toy
from tests.slurm import cluster

GOAL = 10.0
RULES = """

rule level:
    input:
        lambda w: expand("levels/{{k}}-{{i}}", k=int(w.k) - 1, i=range({jobs}))
        if int(w.k)
        else [],
    output:
        "levels/{{k}}-{{i}}",
    resources:
        mem_mb=500,
        runtime=10,
    shell:
        "sleep {seconds}; touch {{output}}"


rule levels:
    input:
        expand("levels/{last}-{{i}}", i=range({jobs})),
    localrule: True
"""


def alone(folder: Path, levels: int, jobs: int, seconds: float, env: dict[str, str]) -> float:
    """Wall time of the jobs by sbatch, each level's at once."""
    start = time.monotonic()
    ask = ["sbatch", "--wait", "--quiet", "--output=/dev/null", "--mem=500", "--time=10", "--wrap"]
    for _ in range(levels):
        running = [
            subprocess.Popen([*ask, f"sleep {seconds}"], cwd=folder, env=env) for _ in range(jobs)
        ]
        if any(process.wait() for process in running):
            sys.exit("sbatch --wait failed")
    return time.monotonic() - start


def managed(folder: Path, env: dict[str, str]) -> float:
    """Wall time of the same jobs as rules, from the start of Snakemake to its end."""
    profile = ("--workflow-profile", "workflow/profiles/slurm", "--cores", "2")
    start = time.monotonic()
    line = toy.line(("snakemake", *profile, "levels"))
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.monotonic() - start


def main() -> None:
    """Measure, print lines for people and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--levels", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2, help="in a level, on two CPUs")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a job takes")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="levels-") as made:
        folder, place = toy.build(Path(made) / "study"), Path(made) / "slurm"
        place.mkdir()
        with (folder / "workflow/Snakefile").open("a") as snakefile:
            snakefile.write(
                RULES.format(jobs=told.jobs, seconds=told.seconds, last=told.levels - 1)
            )
        with cluster.running(place) as leads:
            env = toy.surroundings({**os.environ, **leads})
            slurm = alone(folder, told.levels, told.jobs, told.seconds, env)
            snakemake = managed(folder, env)
    level = (snakemake - slurm) / told.levels
    print(f"Slurm alone {slurm:6.1f} s for {told.levels} levels of {told.jobs} jobs")
    print(f"Snakemake   {snakemake:6.1f} s, its own start among them")
    print(f"A level costs {level:.1f} s beyond Slurm's own (goal {GOAL:g})")
    tell(levels=told.levels, jobs=told.jobs, slurm_s=slurm, snakemake_s=snakemake, level_s=level)


if __name__ == "__main__":
    main()
