"""Does a feature turn because the model learnt to see, or because it was tuned at all?

Stage `tuned` tuned the aligned model three times alike: behind images, behind scenes told in words,
and behind images of other scenes. Here D, the dictionary of the aligned model with the image, is
continued on each of them, with the image before it and the very same samples; D2 is the null of
all, and DF, the continuation on the whole instruct-tuned model, stands beside them on the same
footing. A share beyond the null that the controls reach too is owed to tuning, not to sight.
`seen` has the controls' budget; the instruct model had more.

Shares are of the features settled for all four, so that differences are paired: features are drawn
again, each with all its verdicts.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steps.diff import turned
from steps.diff.turning import carry, nulls
from steps.track import log

PARENT, CELL = "D", "D"
TUNED = ("seen", "told", "shuffled")
INSTRUCT = "instruct"
CONTRASTS = (("seen", "told"), ("seen", "shuffled"), (INSTRUCT, "told"), (INSTRUCT, "shuffled"))
DRAWS, COVERAGE = 2000, 0.95


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Continue D on each model of inputs['tuned'], at each site.

    inputs: also the base's `harvest` and `dictionary`, and the `items` that they were made of, all
    of this seed. params.diff: as of the stage `dictionary`. Writes controls.parquet, a row a model,
    site and feature as `turned.arrow` gives it (which: seen, told, shuffled or instruct). Metrics:
    `controls/<site>/<which>/...` as of the stage `turned`; `controls/<site>/<one>_over_<other>/
    beyond`, the difference of two shares, with `/low` and `/high`, the ends of its interval; the
    same of `paired`.
    """
    of, frames, metrics = carry.everywhere(inputs), [], {}
    for which in (*TUNED, INSTRUCT):
        if which == INSTRUCT:
            seen = {name: site.read("F") for name, site in of.items()}
            children = {name: site.load("DF") for name, site in of.items()}
        else:
            seen = carry.activations_of(Path(inputs["tuned"]) / which, inputs, of, CELL)
            children = carry.on(of, PARENT, seen, params, which)
        for name, site in of.items():
            frame = turned.arrow(site, PARENT, children[name], seen[name])
            frames.append(pd.DataFrame({"which": which, "site": name}, frame.index).join(frame))
            found = turned.moved(site, CELL, seen[name])
            metrics |= {f"controls/{name}/{which}/{key}": value for key, value in found.items()}
            log.text(f"controls: {name}, {which} moved by {found['moved']:.4f} of the variance")
    table = pd.concat(frames, ignore_index=True)
    table.to_parquet(out / "controls.parquet", index=False)
    return metrics | figures(table, params.run.seed)


def rescored(params: Any, inputs: dict[str, Path], kept: Path, out: Path) -> dict[str, float]:
    """What `run` returns but `controls/.../moved...`, from the features in the folder `kept`."""
    del inputs, out
    return figures(pd.read_parquet(kept / "controls.parquet"), params.run.seed)


def figures(table: pd.DataFrame, seed: int) -> dict[str, float]:
    """`turned.summary` of each site and model of controls.parquet, and each site's `contrasts`."""
    metrics = {}
    for name, rows in table.groupby("site", sort=False):
        for which, frame in rows.groupby("which", sort=False):
            found = turned.summary(frame, seed)
            metrics |= {f"controls/{name}/{which}/{key}": value for key, value in found.items()}
        found = contrasts(rows, seed)
        metrics |= {f"controls/{name}/{key}": value for key, value in found.items()}
    return metrics


def contrasts(table: pd.DataFrame, seed: int) -> dict[str, float]:
    """Differences of shares beyond the null between the models of one site, with intervals.

    table: which, feature, settled and the rules' verdicts. Features are compared that are settled
    for all. Nothing where the arrow was refused or they are fewer than nulls.FEWEST.
    """
    settled = table.pivot(index="feature", columns="which", values="settled").all(axis=1)
    some = table[table["feature"].isin(settled.index[settled])]
    found = {"settled_in_all": float(settled.sum())}
    if settled.sum() < nulls.FEWEST:
        return found
    rng = np.random.default_rng([seed, 31])
    n = int(settled.sum())
    weights = rng.multinomial(n, np.full(n, 1 / n), DRAWS) / n  # [draws, features]
    for rule in ("beyond", "paired"):
        wide = some.pivot(index="feature", columns="which", values=rule).astype(float)
        for which in wide:
            found[f"{which}/in_all/{rule}"] = float(wide[which].mean())
        for one, other in CONTRASTS:
            gap = (wide[one] - wide[other]).to_numpy()
            low, high = np.quantile(weights @ gap, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
            name = f"{one}_over_{other}/{rule}"
            found |= {name: gap.mean(), f"{name}/low": low, f"{name}/high": high}
    return {name: float(value) for name, value in found.items()}
