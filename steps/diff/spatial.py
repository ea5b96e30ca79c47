"""Spatial features: which latents tell where one object lies, and do they follow the image?

The tuned model reads questions about relations, whose wording is one and the same, and the
dictionary of its image activations (FINAL) names the features. Each is asked:

    does it tell a relation (`concepts`): chosen on one half of the scenes, reported on the other,
        beside permuted labels, random dictionaries, directions that need no dictionary
        (`baselines`), the same latent before tuning, and the first object's attributes;
    does it follow the image or the words, and true or false statements (`follows`);
    did it tell the relation in stories (`telling`);
    is it among those that tuning turned (`overlap`).

A feature is *selective* where its AUROC for a relation is params.spatial.high or more and for any
attribute params.spatial.low or less, as stated before any was seen.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from steps.diff import relations
from steps.diff.arrows import FINAL
from steps.diff.space import judged, passes, scored
from steps.diff.space.spatial_picture import picture
from steps.stage import StageError
from steps.track import log

BEFORE, STORIES, STORIES_BEFORE = "D", "M", "S"
"""The dictionaries in which the same latents are read before tuning, and on stories after and
before it."""
LENS = {"difference.mean": "difference_mean", "difference.pca": "difference_pca"}
"""Directions of compare's <site>/lens.safetensors, and what they are called here."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Score the features of each site of inputs['dictionary'] on relations in scenes.

    inputs: also base (aligned and instruct) and compare (features.parquet and, where there are any,
    <site>/lens.safetensors). params: world; spatial.scenes, permutations, high, low, alpha, batch.
    Writes spatial.parquet (a row a living feature and relation, or axis), scenes.parquet (what the
    best features of each relation do on each scene), nulls.parquet, untestable.json (what there
    were too few scenes or features for, and why) and spatial.png. Returns `spatial/<site>/...`.
    Raises StageError where no site has a dictionary of FINAL.
    """
    told, seed = params.spatial, params.run.seed
    torch.set_num_threads(params.run.threads)
    folder, compare, base = (Path(inputs[name]) for name in ("dictionary", "compare", "base"))
    marks = passes.loaded(folder, FINAL)
    if not marks:
        raise StageError(f"{folder} holds no <site>/{FINAL}: run the stage `dictionary` first")
    related = relations.draw(params.world, seed, told.scenes)
    spoken = related.take((related.table["story"] != "").to_numpy())
    rng = np.random.default_rng([seed, 37])
    reader = passes.Reader(base / "instruct", told.batch)
    seen = passes.plain(reader, related, marks, seed)
    started = {name: scored.start(seen[name, FINAL], related.table) for name in marks}
    sites = {name: site for name, (site, _) in started.items() if site}
    missing = {name: why for name, (_, why) in started.items()}
    kept = {name: site.features for name, site in sites.items()}
    cells = passes.turned(reader, related, marks, kept, ("mirrored", "exchanged", "both"))
    said = passes.answered(reader, related, marks, kept)
    after = passes.told(reader, spoken, passes.loaded(folder, STORIES), kept)
    del marks
    reader = passes.Reader(base / "aligned", told.batch)
    prior = passes.turned(reader, related, passes.loaded(folder, BEFORE), kept)
    first = passes.told(reader, spoken, passes.loaded(folder, STORIES_BEFORE), kept)
    nulls, features = [], pd.read_parquet(compare / "features.parquet")
    for name, site in sites.items():
        plain = {"plain": seen[name, FINAL][scored.READ][:, site.features]}
        cells[name] |= said[name] | plain
        scored.select(site, cells[name], told.alpha)
        scored.follow(site, cells[name], rng)
        drawn = [seen[name, draw][scored.READ] for draw in range(passes.RANDOM)]
        nulls.append(judged.nulls(site, drawn, told.alpha, told.permutations, rng))
        judged.directions(site, seen[name, "raw"], _lens(compare, name))
        judged.agreement(site, cells[name], "agreement", told.permutations, rng)
        judged.before(site, prior.get(name), told.alpha, told.permutations, rng)
        for column, codes in (("text_before", first), ("text_after", after)):
            if name in codes:
                mine = codes[name]
                judged.stories(site, column, spoken.table, mine, told.permutations, rng)
        compared = features[features["site"] == name].set_index("feature")
        judged.summary(site, told.high, told.low, compared.reindex(site.features))
        missing[name] = site.missing
    return _written(sites, cells, nulls, missing, related, told.high, out)


def _lens(folder: Path, site: str) -> dict[str, np.ndarray]:
    """Directions [c, d] that compare found at a site, by method."""
    path = folder / site / "lens.safetensors"
    every = load_file(path) if path.exists() else {}
    return {
        new: np.atleast_2d(every[name].float().numpy())
        for name, new in LENS.items()
        if name in every
    }


def _written(
    sites: dict[str, scored.Site],
    cells: dict[str, dict[str, np.ndarray]],
    nulls: list[pd.DataFrame],
    missing: dict[str, dict[str, str]],
    related: relations.Related,
    high: float,
    out: Path,
) -> dict[str, float]:
    """Write what was found; the metrics."""
    (out / "untestable.json").write_text(json.dumps(missing, indent=1, sort_keys=True))
    metrics: dict[str, float] = {"spatial/scenes": len(related.table)}
    for name, why in missing.items():
        metrics[f"spatial/{name}/untestable"] = len(why)
    if not sites:
        columns = ("site", "feature", "relation", "auroc_select", "auroc", "selected")
        empty = pd.DataFrame({name: [] for name in columns})
        empty.to_parquet(out / "spatial.parquet", index=False)
        return metrics
    tables = [site.table.assign(site=name) for name, site in sites.items()]
    features = pd.concat(tables, ignore_index=True).drop(columns="place")
    features.to_parquet(out / "spatial.parquet", index=False)
    named = [null.assign(site=name) for name, null in zip(sites, nulls, strict=True)]
    pd.concat(named, ignore_index=True).to_parquet(out / "nulls.parquet", index=False)
    shown = [_scenes(name, site, cells[name], related) for name, site in sites.items()]
    pd.concat(shown, ignore_index=True).to_parquet(out / "scenes.parquet", index=False)
    for name, site in sites.items():
        metrics |= {f"spatial/{name}/{key}": value for key, value in site.metrics.items()}
    picture(sites, dict(zip(sites, nulls, strict=True)), high, out / "spatial.png")
    log.figure(out / "spatial.png")
    return metrics


def _scenes(
    name: str,
    site: scored.Site,
    cells: dict[str, np.ndarray],
    related: relations.Related,
) -> pd.DataFrame:
    """What the best features of each relation do on each scene: for pages that show scenes."""
    rows = site.shown()
    n = len(related.table)
    frame = pd.DataFrame({"site": name, "relation": np.repeat(rows["relation"].to_numpy(), n)})
    frame["feature"] = np.repeat(rows["feature"].to_numpy(), n)
    for column, of in (("item", "item"), ("half", "half"), ("true", "relation")):
        frame[column] = np.tile(related.table[of].to_numpy(), len(rows))
    for column, cell in (("value", "plain"), ("mirrored", "mirrored"), ("exchanged", "exchanged")):
        frame[column] = cells[cell][:, rows["place"]].T.ravel()
    return frame
