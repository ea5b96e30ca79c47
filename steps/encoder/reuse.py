"""An arm's encoder re-used: put into a fresh language model, trained alike, and asked (PIVOT).

Claims 22 to 24 of PIVOT (2510.16333, table 2) on equal terms. The published comparison sets an
encoder with stage 1 and DPO behind it against the original one; the arm `none` is the row that it
lacks, the encoder with stage 1 behind it and no more. The rows that no arm is stand in `newcomers`.
The model is thrown away once it has answered: what it says is what is measured.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.models import families
from steps.track import log
from steps.whose import signed

LAST = 100
"""Steps at the end of training that a final loss is averaged over."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Re-use the tower of the VLM `inputs['model']`; writes items.parquet and losses.json.

    inputs: also `base` (its `aligned` gives the language model) and `items`. params: see `row`.
    Returns `reuse/...` as shares, and the final losses.
    """
    from steps.encoder import tower as towers
    from steps.models import load

    vlm = load.vlm(inputs["model"])
    families.only(vlm, "reuse")
    tower = towers.cut(vlm, towers.own(vlm))
    metrics, scored, losses = row(params, inputs, tower, params.run.checkpoints)
    write(params, {"": scored}, {"": losses}, out)
    return metrics


def row(
    params: Any, inputs: dict[str, Path], tower: Any, checkpoints: Path
) -> tuple[dict[str, float], pd.DataFrame, dict[str, list[float]]]:
    """One encoder in a new model: its metrics, its scored answers, and the losses of training.

    params: `world`, `recipe` (what its batches are drawn by), `run.seed`, and `reuse`: align,
    instruct and tower as `steps.encoder.transplant` reads them; items (judged questions asked,
    spread evenly), blind (how many of them also with a grey image), batch and max_tokens.
    """
    from steps.behaviour import vqa
    from steps.encoder import transplant
    from steps.models import load

    told, aligned = params.reuse, Path(inputs["base"]) / "aligned"
    seed = params.run.seed or 0
    vlm = transplant.model(aligned, tower, seed)
    losses = transplant.train(vlm, params, seed, checkpoints)
    processor = load.processor(aligned)
    table, shown = vqa.questions(Path(inputs["items"]), "vqa")
    some = vqa.evenly(told.items, len(table))
    table, shown = table.iloc[some].reset_index(drop=True), shown[some]
    few = vqa.evenly(told.blind, len(table))
    views = {"reuse": (table, shown)}
    if told.blind:
        views["reuse_grey"] = table.iloc[few], np.full_like(shown[few], vqa.GREY)
    parts = []
    for instrument, (rows, pictures) in views.items():
        texts, _ = vqa.ask(vlm, processor, rows, pictures, told.batch, told.max_tokens)
        part = vqa.score(rows, texts)
        part.insert(0, "instrument", instrument)
        parts.append(part)
    scored = pd.concat(parts, ignore_index=True)
    metrics = figures(scored, losses)
    log.metric("reuse/lenient", metrics["reuse/lenient"], 0)
    return metrics, scored, losses


def rescored(params: Any, inputs: dict[str, Path], kept: Path, out: Path) -> dict[str, float]:
    """What `run` writes and returns, from the answers and losses in the folder `kept`.

    inputs: items alone. Also of `newcomers`, but for the sizes of encoders. Raises StageError for
    answers to other questions than theirs.
    """
    from steps.behaviour import vqa

    whole = pd.read_parquet(kept / "items.parquet")
    lines = json.loads((kept / "losses.json").read_text())
    parts: dict[str, list[pd.DataFrame]] = {}
    for name, rows in whole.groupby("instrument", sort=False):
        place, stroke, instrument = str(name).rpartition("/")
        table = vqa.known(Path(inputs["items"]), "vqa", rows["item"])
        part = vqa.score(table, rows["raw"].tolist())
        part.insert(0, "instrument", instrument)
        parts.setdefault(place + stroke, []).append(part)
    scored = {place: pd.concat(tables, ignore_index=True) for place, tables in parts.items()}
    losses: dict[str, dict[str, list[float]]] = {place: {} for place in scored}
    for name, line in lines.items():
        place, stroke, own = name.rpartition("/")
        losses[place + stroke][own] = line
    write(params, scored, losses, out)
    return {
        place + name: value
        for place, table in scored.items()
        for name, value in figures(table, losses[place]).items()
    }


def figures(scored: pd.DataFrame, losses: dict[str, list[float]]) -> dict[str, float]:
    """`summary`, and each loss at the end of training."""
    found = summary(scored)
    for name, line in losses.items():
        found[f"reuse/loss/{name}"] = sum(line[-LAST:]) / len(line[-LAST:])
    return found


def summary(scored: pd.DataFrame) -> dict[str, float]:
    """Shares of right answers: all, strictly, by kind, and on the questions asked blind too.

    `reuse/sighted` is of those questions with their images, `reuse/grey` without; facts, which
    need no image, are left out of both.
    """
    seen = scored[scored["instrument"] == "reuse"]
    blind = scored[(scored["instrument"] == "reuse_grey") & (scored["kind"] != "fact")]
    metrics = {"reuse/lenient": seen["lenient"].mean(), "reuse/strict": seen["strict"].mean()}
    for kind, rows in seen.groupby("kind"):
        metrics[f"reuse/kind/{kind}/lenient"] = rows["lenient"].mean()
    if len(blind):
        metrics["reuse/grey/lenient"] = blind["lenient"].mean()
        with_image = seen[seen["item"].isin(blind["item"])]
        metrics["reuse/sighted/lenient"] = with_image["lenient"].mean()
    return {name: float(value) for name, value in metrics.items()}


def write(
    params: Any,
    scored: dict[str, pd.DataFrame],
    losses: dict[str, dict[str, list[float]]],
    out: Path,
) -> None:
    """Write items.parquet and losses.json of rows by their prefix (`original/`, or none)."""
    parts = []
    for place, table in scored.items():
        parts.append(table.assign(instrument=place + table["instrument"]))
    whole = pd.concat(parts, ignore_index=True)
    signed(whole, params.run).to_parquet(out / "items.parquet", index=False)
    lines = {f"{place}{name}": line for place, of in losses.items() for name, line in of.items()}
    (out / "losses.json").write_text(json.dumps(lines))
