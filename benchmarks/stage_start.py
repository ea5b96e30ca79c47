"""What starting each stage costs before it works: its module's imports, in a fresh process.

python benchmarks/stage_start.py [--times 3]

Also `--help` and the check of params.yaml, which must not import torch. What a stage imports inside
its functions is not seen here: benchmarks/study.py weighs whole stages.
"""

import argparse
import statistics
import sys

from timing import Cost, cost, tell

HEAVY = ("torch", "transformers", "trl", "sklearn", "pandas", "mlflow")
SAY = f"import sys; print(*[name for name in {HEAVY} if name in sys.modules])"
MAIN = "import sys; sys.argv[1:] = {!r}; from steps.__main__ import main\ntry: main()\n"
MAIN += "except SystemExit: pass\n"


def cases() -> dict[str, str]:
    """What to start: a name, and the Python that does it."""
    from steps.stage import STAGES

    verbs = {"--help": MAIN.format(["--help"]), "check": MAIN.format(["check"])}
    modules = sorted(set(STAGES.values()))
    return {"python": "", **verbs, **{name: f"import {name}" for name in modules}}


def median(code: str, times: int) -> tuple[Cost, str]:
    """The median run of `times`, by CPU seconds, and the heavy libraries that it loaded."""
    command = [sys.executable, "-c", f"{code}\n{SAY}"]
    runs = sorted((cost(command) for _ in range(times)), key=lambda run: run.cpu_s)
    return runs[len(runs) // 2], runs[0].text.splitlines()[-1]


def main() -> None:
    """Measure, print a table for people and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=3, help="runs of each; the median counts")
    options = parser.parse_args()
    found = {}
    print(f"{'start of':<28}{'CPU s':>7}{'wall s':>8}{'MB':>6}  loads")
    for name, code in cases().items():
        run, loads = median(code, options.times)
        found[name] = {"cpu_s": run.cpu_s, "wall_s": run.wall_s, "mb": run.peak_mb, "loads": loads}
        print(f"{name:<28}{run.cpu_s:>7.2f}{run.wall_s:>8.2f}{run.peak_mb:>6.0f}  {loads}")
    print(f"median of all: {statistics.median(of['cpu_s'] for of in found.values()):.2f} s of CPU")
    tell(**found)


if __name__ == "__main__":
    main()
