"""How long each engine takes to find that nothing is to be done.

python benchmarks/noop.py [--study smoke] [--times 5]

Needs a finished study that both engines know: make study, then make adopt.
Goals: Snakemake 4 s; DVC 1 s and 50 ms for each stage.
"""

import argparse
import json
import statistics
import sys

from timing import cost, pipeline, tell


def main() -> None:
    """Check that there is nothing to do, measure, print lines for people and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--study", default="", help="an overlay; default: params.yaml as it is")
    parser.add_argument("--times", type=int, default=5, help="runs; the median counts")
    options = parser.parse_args()
    from steps.study.dvc import CHECK

    file, variables = pipeline(options.study), {"SIGHTLINE_STUDY": options.study}
    idle = "Nothing to be done" in cost(["snakemake", "--cores", "all", "-n"], **variables).text
    due = json.loads(cost(["dvc", "status", "--json", file]).text.splitlines()[-1])
    # DVC's own `check` runs each time, because it looks at what lies outside the repository.
    if not idle or {name.rpartition(":")[2] for name in due} != {CHECK}:
        sys.exit("There is something to do: make study, then make adopt, with the same STUDY")

    stages = len(cost(["dvc", "stage", "list", "--name-only", file]).text.split())
    commands = {"snakemake": ["snakemake", "--cores", "all"], "dvc": ["dvc", "repro", file]}
    goals = {"snakemake": 4.0, "dvc": 1.0 + 0.05 * stages}
    found = {}
    for engine, command in commands.items():
        walls = [cost(command, **variables).wall_s for _ in range(options.times)]
        found[engine] = statistics.median(walls)
        print(f"{engine:<10}{found[engine]:6.2f} s for {stages} stages (goal {goals[engine]:.2f})")
    tell(study=options.study or "default", stages=stages, wall_s=found, goal_s=goals)


if __name__ == "__main__":
    main()
