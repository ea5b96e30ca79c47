"""Foils: what the removal of a feature is compared with, since to remove anything does some harm.

A matched foil is another living feature of the same dictionary that fires about as often and with
as much energy on the same words; besides, there are random directions, the direction along which
activations vary most, and spatial features that tuning did not turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.data.speech import RELATIONS
from steps.diff import reading
from steps.diff.reading import Asked

LEAST = 10
"""Firings below which a feature counts as dead on the words looked at."""
FEWEST = 20
"""Foils below which there is no quantile: a 95th percentile of fewer is their maximum or beyond."""


@dataclass
class Profile:
    """What a dictionary does on the words behind images: an entry for each feature [f].

    firings: number of words. rate: share of them. energy: mean z^2 over all words. typical: mean z
    over the words on which it fires. component [d]: the first principal component of activations.
    """

    firings: np.ndarray
    rate: np.ndarray
    energy: np.ndarray
    typical: np.ndarray
    component: Tensor

    @property
    def alive(self) -> np.ndarray:
        """Which features fire at least LEAST times [f]."""
        return self.firings >= LEAST


def profile(
    model: Any, processor: Any, some: Asked, site: str, dictionary: Any, batch: int
) -> Profile:
    """Profile of a dictionary on the words behind the images of questions `some`."""
    parts = []
    firings = total = energy = torch.zeros(())
    for seen in reading.read(model, processor, some, [site], batch):
        x = seen.seen[site][(seen.types >= reading.QUESTION).to(seen.seen[site].device)]
        z = dictionary.codes(x)
        parts.append(x.cpu())
        firings = firings + (z > 0).sum(0).cpu()
        total, energy = total + z.double().sum(0).cpu(), energy + z.double().square().sum(0).cpu()
    words = torch.cat(parts).double()
    _, vectors = torch.linalg.eigh(torch.cov(words.T))
    count = firings.numpy()
    return Profile(
        count,
        count / len(words),
        energy.numpy() / len(words),
        total.numpy() / count.clip(1),
        vectors[:, -1].float(),
    )


def matched(seen: Profile, feature: int, count: int, never: Sequence[int]) -> np.ndarray:
    """The living features nearest to `feature` in log rate and log energy, nearest first.

    At most `count`, none of `never`, none where the feature itself is dead. Ties by number.
    """
    if not seen.alive[feature]:
        return np.zeros(0, int)
    pool = np.setdiff1d(np.flatnonzero(seen.alive), [feature, *never])
    place = np.log(np.stack([seen.rate[pool], seen.energy[pool]]))
    own = np.log([seen.rate[feature], seen.energy[feature]])
    far = np.hypot(*(place - own[:, None]))
    return pool[np.argsort(far, kind="stable")[:count]]


def group(near: Sequence[np.ndarray], draws: int, rng: np.random.Generator) -> list[list[int]]:
    """`draws` groups that hold one matched foil of each of some features, no foil twice in one.

    near: each feature's foils (`matched`). Empty where foils do not suffice for a group.
    """
    found = []
    for _ in range(draws):
        taken: list[int] = []
        for pool in near:
            free = np.setdiff1d(pool, taken)
            if not len(free):
                return []
            taken.append(int(rng.choice(free)))
        found.append(taken)
    return found


def likeness(seen: Profile, near: Mapping[int, np.ndarray]) -> pd.DataFrame:
    """One row a feature: by what factor its foils' rate and energy are off its own, the median.

    feature, rate, energy, typical: its own; times_rate and times_energy: at least 1, NaN without
    foils.
    """
    rows = []
    for feature, some in near.items():
        row = {"feature": feature, "rate": seen.rate[feature], "energy": seen.energy[feature]}
        row["typical"] = seen.typical[feature]
        for name, values in (("rate", seen.rate), ("energy", seen.energy)):
            off = np.abs(np.log(values[some] / values[feature]))
            row[f"times_{name}"] = float(np.exp(np.median(off))) if len(some) else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def directions(like: Tensor, count: int, seed: int) -> Tensor:
    """Random unit directions [count, d], isotropic, where the rows [n, d] of `like` are."""
    some = torch.randn(count, like.shape[1], generator=torch.Generator().manual_seed(seed))
    return (some / some.norm(dim=1, keepdim=True)).to(like)


def quantile(value: float, foils: np.ndarray) -> tuple[float, float]:
    """Share of foils with less (ties half), and p of as much by chance, (1 + as many) / (1 + n).

    Both NaN for fewer than FEWEST foils. The p is Phipson and Smyth's (2010), never zero.
    """
    if len(foils) < FEWEST:
        return np.nan, np.nan
    less = float((foils < value).mean() + (foils == value).mean() / 2)
    return less, float((1 + (foils >= value).sum()) / (1 + len(foils)))


def ranking(spatial: pd.DataFrame, turned: pd.DataFrame, site: str) -> pd.DataFrame:
    """A site's features as candidates, best first: feature, relation, auroc_select, selected, ...

    spatial: columns site, feature, relation, selected, auroc_select; of a feature's relations its
    best counts, and what is no relation does not. turned: `compare`'s table, columns site, feature
    and, where its arrows were told, beyond_x and beyond_y. adapted: 1 for features beyond either
    null, 0 for others, NaN where neither is known. Selected features come first, adapted ones first
    among these, then by AUROC.
    """
    table = spatial[(spatial["site"] == site) & spatial["relation"].isin(RELATIONS)]
    table = table.dropna(subset=["auroc_select"]).astype({"selected": bool})
    down = {"selected": False, "auroc_select": False, "feature": True}
    table = table.sort_values([*down], ascending=[*down.values()]).drop_duplicates("feature")
    axes = turned[turned["site"] == site].set_index("feature")
    axes = axes.reindex(columns=["beyond_x", "beyond_y"]).astype(float).max(axis=1)
    table = table.assign(adapted=table["feature"].map(axes))
    down = {"selected": False, "adapted": False, "auroc_select": False, "feature": True}
    table = table.sort_values([*down], ascending=[*down.values()], na_position="last")
    columns = ["feature", "relation", "auroc_select", "selected", "adapted"]
    return table[columns].reset_index(drop=True)
