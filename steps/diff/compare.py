"""How far features turned between the language model before and after it learnt to see.

A feature is one latent, followed from the dictionary `before` to its continuation `after`. It
turned *beyond the null* when the cosine of its decoder rows is below the 1 % quantile of the same
cosines in the null continuation. Compared are *settled* features: alive in all three dictionaries,
and carried less than 37 degrees by the null. The few latents that never found a direction drift
by 40 to 80 degrees on unchanged data; left in, they alone make the 1 % quantile, and atoms turned
by 45 degrees go unseen (tests/diff/test_calibration.py measures both). A fixed percentile of the
cosines themselves, as in the VLM paper, calls the same share turned whatever happened
(model_diffing.md 1.4 and 6.8).

Beside it stands a paired rule: a living feature turned at least 10 degrees further than its own
null turned it, and further than all but 1 % fell short of theirs. It needs no gate, and finds turns
of 30 degrees also where a few drifting latents push the quantile beyond that; its 10 degrees are a
convention.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from steps.diff import activations, measures
from steps.diff.activations import TYPES
from steps.diff.dictionary import CELL, load
from steps.diff.rotation import figure
from steps.stage import StageError
from steps.track import log

NULL = 0.01  # quantile of the null below which a latent turned; the share expected by drift
SETTLED = 0.8  # cosine to the null from which a latent has a direction that can be compared
PAIRED = 10.0  # degrees beyond a latent's own null, at least, in the paired rule
CLASSES = ("emerge", "vanish", "reorient", "reuse", "keep", "unsettled", "dead")
# Beside each dictionary on its own activations: the one before on what it never saw.
ELSEWHERE = {"before_on_after": ("before", "F")}
ELSEWHERE |= {"before_text": ("before", "S"), "after_text": ("after", "M")}


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Compare the dictionaries of inputs['dictionary'] on inputs['harvest'].

    params.diff.k: latents a token. Writes features.parquet (one row a feature: cosines, quantiles
    under the null, firing rates, visual share, class) and rotation.png. FVU and L0 are measured on
    held-out scenes, firing and energies on all. Raises StageError when hardly a feature lives.
    """
    harvest, folder, k = Path(inputs["harvest"]), Path(inputs["dictionary"]), params.diff.k
    weights = {name: load(folder / name)[0] for name in CELL}
    metrics: dict[str, float] = {}
    seen = {}
    for name, (dictionary, cell) in ({n: (n, c) for n, c in CELL.items()} | ELSEWHERE).items():
        seen[name] = _look(harvest, cell, weights[dictionary], k, name, metrics)
    features = table(weights, {name: seen[name] for name in CELL})
    features.to_parquet(out / "features.parquet")
    metrics |= summary(features)
    figure(features, NULL, out / "rotation.png")
    log.figure(out / "rotation.png")
    return metrics


def _look(
    harvest: Path, cell: str, weights: dict, k: int, name: str, metrics: dict[str, float]
) -> measures.Activity:
    """Activity of a dictionary on a cell; its quality on held-out scenes goes into metrics."""
    x, index = activations.read(harvest, cell), activations.index(harvest, cell)
    types = index["type"].cat.codes.to_numpy(dtype=np.int64)
    seen, again = measures.activity(weights, k, x, types, len(TYPES))
    held = (index["split"] == "eval").to_numpy()
    kinds = {"all": held} | {kind: held & (types == i) for i, kind in enumerate(TYPES)}
    for kind, rows in kinds.items():
        if rows.sum() > 1:
            metrics[f"compare/fvu/{name}/{kind}"] = measures.fvu(x, again, torch.tensor(rows))
    if name in CELL:
        metrics[f"compare/l0/{name}"] = float(seen.rate.sum())
        metrics[f"compare/dead/{name}"] = float((~seen.alive).mean())
    return seen


def table(weights: dict[str, dict], seen: dict[str, measures.Activity]) -> pd.DataFrame:
    """One row a feature, from the three dictionaries and their activity on their own cells."""
    cosine = measures.cosines(weights["before"], weights["after"])
    null = measures.cosines(weights["before"], weights["null"])
    alive = np.logical_and.reduce([seen[name].alive for name in CELL])
    settled = alive & (null >= SETTLED)
    if settled.sum() < 2:
        raise StageError(
            f"of {len(alive)} features {alive.sum()} fire {measures.LEAST} times or more in all "
            f"three dictionaries and {settled.sum()} of these keep their direction in the null: "
            "raise diff.steps or diff.tokens, or lower diff.width"
        )
    frame = pd.DataFrame({"feature": np.arange(len(alive)), "alive": alive, "settled": settled})
    frame["cosine"], frame["cosine_null"] = cosine, null
    frame["quantile"] = frame["quantile_matched"] = np.nan
    frame.loc[settled, "quantile"] = measures.quantiles(cosine[settled], null[settled])
    frame.loc[settled, "quantile_matched"] = measures.matched_quantiles(
        cosine[settled], null[settled], seen["before"].rate[settled]
    )
    threshold = np.quantile(null[settled], NULL)
    frame["beyond"] = settled & (cosine < threshold)
    frame["excess"] = measures.excess(cosine, null)
    enough = max(PAIRED, -float(frame["excess"][alive].quantile(NULL)))
    frame["beyond_paired"] = alive & (frame["excess"] > enough)
    for name in CELL:
        frame[f"rate_{name}"] = seen[name].rate
        frame[f"visual_{name}"] = seen[name].visual
        frame[f"energy_image_{name}"], frame[f"energy_text_{name}"] = seen[name].means
    moved = np.abs(frame["visual_null"] - frame["visual_before"])[settled].quantile(1 - NULL)
    frame["class"] = classes(frame, seen, "after", frame["beyond"], moved)
    frame["class_null"] = classes(frame, seen, "null", settled & (null < threshold), moved)
    return frame


def classes(
    frame: pd.DataFrame, seen: dict[str, Any], name: str, turned: Any, moved: float
) -> pd.Categorical:
    """What became of each feature in dictionary `name`.

    emerge: dead before, alive now; vanish: the other way round; dead: in both; of the others
    unsettled: without a direction that can be compared; reorient: turned; reuse: not turned, but
    its visual share moved by more than `moved` (the null's 99 % quantile); keep: none of these.
    Whether a concept is new to the *model* needs latent scaling too: this is the dictionary's view.
    """
    was, now = seen["before"].alive, seen[name].alive
    shift = np.abs(frame[f"visual_{name}"] - frame["visual_before"]) > moved
    cases = [~was & now, was & ~now, ~was & ~now, frame["cosine_null"] < SETTLED, turned, shift]
    names = ["emerge", "vanish", "dead", "unsettled", "reorient", "reuse"]
    found = np.select([np.asarray(case) for case in cases], names, "keep")
    return pd.Categorical(found, CLASSES)


def summary(features: pd.DataFrame) -> dict[str, float]:
    """The figures of a features table, flat. Shares and medians are of the settled features."""
    settled = features[features["settled"]]
    metrics = {
        "compare/alive": int(features["alive"].sum()),
        "compare/settled": len(settled),
        "compare/threshold": float(settled["cosine_null"].quantile(NULL)),
        "compare/beyond_null": float(settled["beyond"].mean()),
        "compare/beyond_null_matched": float((settled["quantile_matched"] <= NULL).mean()),
        "compare/beyond_paired": float(features["beyond_paired"][features["alive"]].mean()),
        "compare/cosine/after": float(settled["cosine"].median()),
        "compare/cosine/null": float(settled["cosine_null"].median()),
        "compare/visual/before": float(settled["visual_before"].median()),
        "compare/visual/after": float(settled["visual_after"].median()),
    }
    for column in ("class", "class_null"):
        counts = features[column].value_counts()
        metrics |= {f"compare/{column}/{kind}": int(counts[kind]) for kind in CLASSES}
    return metrics
