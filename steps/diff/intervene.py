"""Interventions: is an answer about a relation lost without a spatial feature, and raised by more?

At the site where a dictionary was fitted, on the words behind the image, the tuned model's stream
is edited (`edits`) and its answers are read where they are due:

    removal  of each chosen feature, against foils of its kind (`removal`)
    doses    of its direction, of either sign (`doses`)
    groups   of the best features together, against groups of foils (`groups`)
    transfer of the removal to the model before visual tuning

The features were chosen on one half of the scenes; effects are of the other half. Foils are matched
on the half that chooses. Questions of other kinds say what a removal harms besides.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from steps.diff import relations
from steps.diff.acts import asking, doseplot, foils, outcomes, removal, tally
from steps.diff.acts.examine import TABLES, Asked, examine
from steps.diff.arrows import FINAL
from steps.diff.sae import saved
from steps.models import load
from steps.track import log


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Intervene at each residual site of inputs['spatial'] in inputs['base'].

    inputs: also items, dictionary and compare. params: world; intervene.features (chosen at each
    site), foils (matched ones of each, and random directions), doses, groups (sizes), scenes (half
    of them are reported on), items (questions of other kinds), batch (questions a pass). Writes
    effects.parquet (a row an edit and kind of question), removal.parquet, doses.parquet,
    groups.parquet, transfer.parquet and dose.png. Returns `intervene/<site>/...`; figures that
    there are too few foils or questions for are left out.
    """
    want, seed, base = params.intervene, params.run.seed, Path(inputs["base"])
    torch.set_num_threads(params.run.threads)
    spatial = pd.read_parquet(inputs["spatial"] / "spatial.parquet")
    turned = pd.read_parquet(inputs["compare"] / "features.parquet")
    processor = load.processor(base / "instruct")
    tuned, untuned = (load.vlm(base / which).to(load.device()) for which in ("instruct", "aligned"))
    asked = questions(params, processor, tuned.config.image_seq_length, Path(inputs["items"]))
    metrics: dict[str, float] = {}
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    shown = []
    for site in sorted(set(spatial["site"])):
        if not site.startswith("residual."):
            log.text(f"intervene: {site} is no residual stream and is left out")
            continue
        marks: Any = saved.load(Path(inputs["dictionary"]) / site / FINAL)
        marks = marks.to(load.device())
        ranked = foils.ranking(spatial, turned, site)
        found = examine(tuned, untuned, processor, site, marks, ranked, asked, want, seed)
        if not found:
            continue
        metrics |= {f"intervene/{site}/{name}": value for name, value in tally.of(found).items()}
        for name in TABLES:
            tables[name].append(found[name].assign(site=site))
        shown.append((site, found))
    for name, parts in tables.items():
        whole = pd.concat(parts or [pd.DataFrame({"site": []})], ignore_index=True)
        whole[["site", *whole.columns.drop("site")]].to_parquet(out / f"{name}.parquet")
    if shown:
        doseplot.figure(shown, out / "dose.png", removal.BEYOND)
        log.figure(out / "dose.png")
    return metrics


def questions(params: Any, processor: Any, image_tokens: int, items: Path) -> Asked:
    """Scenes of both halves, and questions of other kinds."""
    seed, want = params.run.seed, params.intervene
    related = relations.draw(params.world, seed, want.scenes)
    halves = [related.take((related.table["half"] == half).to_numpy()) for half in relations.HALVES]
    select, report = (asking.of_relations(processor, image_tokens, half) for half in halves)
    others = asking.of_other_kinds(processor, image_tokens, items, want.items)
    counts = [outcomes.resampled(some.kind, seed) for some in (report, others)]
    return Asked(select, report, others, *counts)
