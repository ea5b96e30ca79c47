"""How long a study takes under each engine, from nothing, and what each stage of it costs.

python benchmarks/study.py [--study smoke] [--cores 2] [--engine snakemake|dvc|both]

Each engine runs in a clone of its own of the last commit, so nothing in this checkout is touched.
Goals on 2 cores: default study 15 minutes, smoke 150 s, DVC at most 2.2 times that, 3 GB a job.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from timing import ROOT, cost, pipeline, tell


def measure(engine: str, study: str, cores: str, clone: Path) -> dict[str, Any]:
    """Run one study in a fresh clone; its wall and CPU seconds, and those of its stages."""
    cost(["git", "clone", "-q", str(ROOT), str(clone)])
    file = pipeline(study, clone)
    commands = {"snakemake": ["snakemake", "--cores", cores], "dvc": ["dvc", "repro", file]}
    used = cost(commands[engine], clone, SIGHTLINE_STUDY=study)
    stages: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for path in (clone / "results").rglob("*.record.json"):
        record = json.loads(path.read_text())
        stage = stages[record["stage"]]
        stage["runs"] += 1
        for key in ("wall_s", "cpu_s"):
            stage[key] += record[key]
        stage["peak_mb"] = max(stage["peak_mb"], record["peak_mb"])
    return {"wall_s": used.wall_s, "cpu_s": used.cpu_s, "stages": stages}


def show(engine: str, found: dict[str, Any]) -> None:
    """Print one engine's table, dearest stage first."""
    print(f"{engine}: {found['wall_s']:.0f} s, {found['cpu_s']:.0f} s of CPU")
    print(f"  {'stage':<12}{'runs':>6}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}")
    for name, of in sorted(found["stages"].items(), key=lambda item: -item[1]["cpu_s"]):
        row = f"{of['runs']:>6.0f}{of['wall_s']:>9.1f}{of['cpu_s']:>9.1f}{of['peak_mb']:>9.0f}"
        print(f"  {name:<12}{row}")


def main() -> None:
    """Measure, print a table for people and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--study", default="", help="an overlay; default: params.yaml as it is")
    parser.add_argument("--cores", default="2", help="for Snakemake; DVC runs one job at a time")
    parser.add_argument("--engine", default="both", choices=["snakemake", "dvc", "both"])
    options = parser.parse_args()
    engines = ["snakemake", "dvc"] if options.engine == "both" else [options.engine]
    found: dict[str, dict[str, Any]] = {}
    for engine in engines:
        # The mirror may still be writing there for a moment.
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            clone = Path(folder) / "sightline"
            found[engine] = measure(engine, options.study, options.cores, clone)
        show(engine, found[engine])
    if len(found) == 2:
        ratio = found["dvc"]["wall_s"] / found["snakemake"]["wall_s"]
        print(f"dvc takes {ratio:.2f} times as long as snakemake on {options.cores} cores")
    tell(study=options.study or "default", cores=options.cores, **found)


if __name__ == "__main__":
    main()
