"""What re-used encoders cost in time on a device, worked out beside the report.

The fourth currency of PIVOT's claim of less than 1 %. It is another one each time, so that no
stage's result holds it: steps of the recipe are timed where the page is made, and what an arm took
is in the records beside its models. All of it is processor time, which tells less than wall-clock
of what else a machine had to do; they should be of one machine.
"""

import json
from pathlib import Path
from typing import Any

from steps.stage import StageError
from steps.study import tables, written
from steps.study.reused import STAGE1, groups

HEAD = ["arm", "pre-training, s", "stage 1, s", "the arm's own, s", "ratio"]


def seconds(results: Path, base: str, params: Any, recipe: dict[str, float]) -> list[list[str]]:
    """Rows of HEAD for each arm: processor seconds of pre-training, stage 1 and the arm's own.

    recipe: seconds of each part, as `steps.encoder.cost.timed` measures them here. An arm's own are
    the mean over the records of its models, processor time of the whole run.
    """
    pre, stage1 = recipe["tower"], sum(recipe[part] for part in STAGE1)
    rows = []
    for arm in params.arms:
        own = []
        for record in sorted((results / "model" / base / arm).glob("seed*.record.json")):
            own.append(float(json.loads(record.read_text())["cpu_s"]))
        if params.arms[arm].method == "checkpoint":  # what is on record is the conversion
            rows.append([arm, f"{pre:,.0f}", f"{stage1:,.0f}", "not known", "not testable"])
        elif own:
            mean = 0.0 if params.arms[arm].method == "none" else sum(own) / len(own)
            ratio = f"{100 * (stage1 + mean) / pre:.1f} %"
            rows.append([arm, *(f"{value:,.0f}" for value in (pre, stage1, mean)), ratio])
    return rows


def show(params: Any, results: Path, base: str, docs: Path) -> Path:
    """Write a finished study's tables of re-used encoders, and device time, to a page in `docs`.

    Takes a minute: steps of the recipe are timed here, on as many threads as this process has.
    """
    from steps.encoder.cost import timed
    from steps.models.load import device

    if device() != "cpu":
        raise StageError(
            "processor time tells nothing of a GPU: hide it (CUDA_VISIBLE_DEVICES=), and time an "
            "arm's training on the same processor"
        )
    summary = json.loads((results / "report" / "summary.json").read_text())
    titles = {group.title for group in groups(set())}
    own = [group for group in summary["results"][base] if group["title"] in titles]
    path = docs / f"reuse-{params.study.name}-{base}.md"
    rows = seconds(results, base, params, timed(params, results / "base" / base))
    text = (
        "## What the encoder cost: device time\n\nProcessor seconds. Pre-training and stage 1: a "
        "step's time, measured where this page was made over a few steps of each part after two "
        "of warm-up, times the recipe's steps. The arm's own: the records of its runs, mean over "
        "seeds, each the last attempt at its run. Ratio: stage 1 and the arm's own over "
        "pre-training.\n\n"
    )
    path.write_text(written.results(own, list(params.arms)) + text + tables.markdown(HEAD, rows))
    return path
