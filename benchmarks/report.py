"""What judging a finished study's claims, writing its report and opening its page take.

SIGHTLINE_STUDY=<name> python benchmarks/report.py [--rounds 3]

On one thread, from the results of the study, which has to be finished (or as far as it is). Goals
for the reference study: judge_s at most 20, report_s at most 20, page_s at most 1. report_s is the
whole stage without Python's start. page_s is Chromium's time for the page less that for an empty
one; left out where there is no Chromium. With the committed reference study, pool_s is the time to
judge its studies together.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import ROOT, cost, tell

EMPTY = "<!doctype html><title>empty</title>"


def taken(rounds: int, what: Callable[[], Any]) -> float:
    """The median wall seconds of a call."""
    spent = []
    for _ in range(rounds):
        began = time.monotonic()
        what()
        spent.append(time.monotonic() - began)
    return statistics.median(spent)


def opened(browser: str, page: Path) -> float:
    """Wall seconds of a browser that loads, lays out and paints a page's first screen, and ends."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"]
    shot = f"--screenshot={page.with_suffix('.png')}"
    return cost([*command, shot, page.resolve().as_uri()]).wall_s


def main() -> None:
    """Measure, print a table for people and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the median counts")
    options = parser.parse_args()
    from steps.params import Run, view
    from steps.study import collect, pool, report
    from steps.study.claims import judge, registry
    from steps.study.plan import plan
    from steps.study.rules import rules

    told = plan()
    [rule] = [rule for rule in rules(told) if rule.name == "report"]
    inputs = {name: Path(path) for name, path in rule.inputs.items()}
    params = view(told.params, rule.reads, Run(told.params.study.name, "report"))
    found, papers = collect.collect(params, inputs), registry.read()
    figures = {"units": len(params.bases) * len(params.seeds), "results": len(found.metrics)}
    figures["collect_s"] = taken(options.rounds, lambda: collect.collect(params, inputs))
    figures["judge_s"] = taken(options.rounds, lambda: judge.told(found, params, papers))
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)

        def written() -> None:
            shutil.rmtree(place / "report", ignore_errors=True)
            (place / "report").mkdir()
            report.run(params, inputs, place / "report")

        figures["report_s"] = taken(options.rounds, written)
        page = place / "report" / "index.html"
        figures["page_mb"] = page.stat().st_size / 2**20
        if browser := shutil.which("chromium") or shutil.which("chromium-browser"):
            (place / "empty.html").write_text(EMPTY)
            empty = taken(options.rounds, lambda: opened(browser, place / "empty.html"))
            figures["page_s"] = taken(options.rounds, lambda: opened(browser, page)) - empty
        if exports := sorted((ROOT / "docs" / "results").glob("*.tar.gz")):
            places = {path.name.removesuffix(".tar.gz"): (path, None) for path in exports}
            if len(places) > 1:
                figures["pool_s"] = taken(1, lambda: pool.pool(places, place / "pooled"))
    for name, value in figures.items():
        print(f"{name:<12}{value:>10.2f}")
    tell(**figures)


if __name__ == "__main__":
    main()
