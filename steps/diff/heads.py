"""Which attention heads drive spatial features and spatial answers, and did tuning make them do so?

Six questions about the tuned model, each with what it is held against: how much each head drives
features and the answer (by gradients for all heads, and exactly), whether both ways agree, on how
few heads it rests (random features that fire as often), what these heads look at and write (other
heads of their layers), and whether the features and the answers fall when these heads get the
weights from before visual tuning, or are silenced (random heads of the same layers). Heads are
chosen on one half of the scenes; every figure is from the other half.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from steps.data.speech import RELATIONS
from steps.diff import reading, relations
from steps.diff.arrows import FINAL
from steps.diff.drivers import evidence, headmap, patching, swaps, targets
from steps.diff.drivers.driving import Driven, mean
from steps.diff.drivers.pairs import LEVEL, Pairs, pairs
from steps.diff.drivers.sights import looks
from steps.diff.drivers.targets import MARGIN, Target
from steps.diff.sae import saved
from steps.models import load
from steps.stage import StageError
from steps.track import log

LEAST = 8
"""Scenes of a relation and its opposite in each half below which its features are left out."""
DRAWS = 3
"""Sets of random heads that driving heads are held against."""
SETS = {"margin": "margin", "accuracy": "margin", "selectivity": "chosen"}
"""Each figure of an exchange, and the kind of target by which the heads exchanged were chosen."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Heads of inputs['base']/instruct, for features of inputs['spatial'] and inputs['dictionary'].

    params.heads: scenes, features, exact, random, batch, few. Writes heads.parquet (a row a target
    and head), swaps.parquet (a row a set of heads exchanged or silenced) and heads.png. Returns
    `heads/...`. Raises StageError where scenes are too few or too plain to ask.
    """
    want, seed = params.heads, params.run.seed or 0
    rng = np.random.default_rng([seed, 31])
    start = Path(inputs["base"]) / "instruct"
    model = load.vlm(start).to(load.device()).requires_grad_(False)
    processor = load.processor(start)
    choices = reading.words(processor, RELATIONS)
    spatial = pd.read_parquet(Path(inputs["spatial"]) / "spatial.parquet")
    picked, selected = targets.choose(spatial, want.features)
    related = relations.draw(params.world, seed, want.scenes)
    both = pairs(
        processor,
        model.config.image_seq_length,
        related,
        upright=not set(picked["relation"]) <= set(LEVEL),
    )
    select, report = (both.half(name) for name in relations.HALVES)
    keep = [_enough(select, report, relation) for relation in picked["relation"]]
    asked = picked[np.array(keep, bool)].reset_index(drop=True)
    if not _enough(select, report, LEVEL[0]):
        raise StageError(
            f"heads.scenes = {want.scenes} leaves fewer than {LEAST} scenes in each half that the "
            "mirror turns round: raise it"
        )
    sites = sorted(set(asked["site"]))
    read = {site: saved.load(Path(inputs["dictionary"]) / site / FINAL) for site in sites}
    rates = targets.rates(model, processor, select.clean, read, want.batch)
    plain = targets.companions(asked, rates, rng)
    aims = [
        MARGIN,
        *targets.targets(asked, "chosen", read),
        *targets.targets(plain, "random", read),
    ]
    how = (choices, want.batch)
    first = patching.attribution(model, processor, select, aims, *how)
    again = patching.attribution(model, processor, report, aims, *how)
    scale = np.array(
        [1.0 if aim.row is None else first.scene[i].std() for i, aim in enumerate(aims)]
    )
    driven = Driven(aims, first, again, scale, report.table)
    which = driven.worth(want.exact, want.random, rng)
    driven.patched(
        which, patching.exact(model, processor, report, aims, choices, which, want.batch)
    )
    paid, area, wrote = looks(model, processor, report, aims, want.batch)
    tops = {kind: driven.leaders(kind, want.few) for kind in ("margin", "chosen")}
    rows, exchanged = _exchanges(
        model, load.vlm(Path(inputs["base"]) / "aligned"), processor, select, report,
        aims, scale, tops, choices, want.batch, rng,
    )  # fmt: skip
    driven.table(paid, wrote, rng).to_parquet(out / "heads.parquet", index=False)
    rows.to_parquet(out / "swaps.parquet", index=False)
    headmap.figure(driven, out / "heads.png")
    log.figure(out / "heads.png")
    metrics = {
        "scenes": len(report.table),
        "features": len(asked),
        "left_out": len(picked) - len(asked),
        "selected": float(selected),
        "patched": len(which),
        "leaders": len(tops["margin"]),
    }
    chosen = driven.of("chosen")
    metrics |= evidence.concentrated(driven, want.few, rng) | evidence.agreements(driven, rng)
    metrics |= evidence.seeing(paid, area, wrote, chosen, tops, rng) | exchanged
    return {f"heads/{name}": float(value) for name, value in metrics.items()}


def _enough(select: Pairs, report: Pairs, relation: str) -> bool:
    """Whether both halves have enough scenes whose twin turns a relation to or from this one."""
    own = [relation, relations.OPPOSITE[relation]]
    return all(half.table["relation"].isin(own).sum() >= LEAST for half in (select, report))


def _exchanges(
    model: Any,
    before: Any,
    processor: Any,
    select: Pairs,
    report: Pairs,
    aims: list[Target],
    scale: np.ndarray,
    tops: dict[str, list[tuple[int, int]]],
    choices: Tensor,
    batch: int,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """swaps.parquet: a row a set of heads; and what their exchange changes, as metrics."""
    chosen = np.array([aim.kind == "chosen" for aim in aims])
    some = [aim for aim in aims if aim.kind == "chosen"]
    layers, count = patching.heads(model)
    average = swaps.usual(model, processor, select, batch)

    def tried(way: str, units: list[tuple[int, int]]) -> dict[str, np.ndarray]:
        how: dict[str, Any] = {"other": before, "groups": units}
        if way == "ablate":
            how = {"edits": swaps.silenced(average, units, count)}
        where = (model, processor, report, some, scale[chosen], choices, batch)
        return swaps.outcome(*where, **how)

    tuned, rows, metrics = tried("swap", []), [], {}

    def note(way: str, by: str, draw: int, units: list, found: dict[str, np.ndarray]) -> None:
        heads = " ".join(f"{layer}.{unit}" for layer, unit in sorted(units))
        means = {name: float(mean(values, 0)) for name, values in found.items()}
        rows.append({"way": way, "by": by, "draw": draw, "units": heads, **means})

    note("tuned", "", -1, [], tuned)
    for way, wide in (("swap", swaps.group(model)), ("ablate", 1)):
        lost = {}
        for by, top in tops.items():
            if not top:
                continue
            units = sorted({(layer, head // wide) for layer, head in top})
            sets = [units, *swaps.rounds(units, np.full(layers, count // wide), DRAWS, rng)]
            found = [tried(way, one) for one in sets]
            for draw, (one, values) in enumerate(zip(sets, found, strict=True)):
                note(way, by if draw == 0 else f"{by}_random", draw, one, values)
            lost[by] = found
        for name, by in SETS.items():
            if by not in lost:
                continue
            change = [found[name] - tuned[name] for found in lost[by]]
            metrics |= evidence.against(f"{way}/{name}", change[0], np.mean(change[1:], 0), rng)
    every = [
        (layer, unit) for layer in range(layers) for unit in range(count // swaps.group(model))
    ]
    note("swap", "all", 0, every, found := tried("swap", every))
    for name, by in SETS.items():
        if not tops[by]:
            continue
        metrics[f"tuned/{name}"] = np.nanmean(tuned[name])
        metrics[f"swap/{name}/all"] = np.nanmean(found[name] - tuned[name])
    return pd.DataFrame(rows), metrics
