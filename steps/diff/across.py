"""The features that arms turned, held against each other: what does one turn that another does not?

Rare latents turn more easily whatever the arm, so overlaps are compared with chance twice: of all
features, and among those that fire alike.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

STRATA = 10  # groups of features that fire alike, within which the second chance overlap is taken


def across(tables: dict[str, pd.DataFrame], rule: str = "beyond") -> pd.DataFrame:
    """Each pair of arms, site by site: the sets that `rule` calls turned, held against each other.

    tables: an arm's name to its turned.parquet. Compared are features settled in both. Columns:
    site, one, other; common, features compared; turned_one, turned_other and both, sizes; only_one
    and only_other, the features in one set alone; jaccard, both / (in either); chance, the overlap
    expected of sets of these sizes (the mean of the hypergeometric distribution), chance_alike the
    same within tenths by firing rate; p, the chance of as large an overlap; order, Spearman's
    correlation of how far beyond the null features turned. NaN where a set is empty, or hardly
    anything is settled.
    """
    rows = []
    for one, other in combinations(tables, 2):
        pair = [tables[name].set_index(["site", "feature"]) for name in (one, other)]
        joined = pair[0].join(pair[1], how="inner", lsuffix="_one", rsuffix="_other")
        for name, part in joined.groupby(level="site", sort=False):
            part = part[part["settled_one"] & part["settled_other"]]
            rows.append({"site": name, "one": one, "other": other, **_pair(part, rule)})
    return pd.DataFrame(rows)


def _pair(joined: pd.DataFrame, rule: str) -> dict[str, Any]:
    from scipy.stats import hypergeom, spearmanr

    features = joined.index.get_level_values("feature").to_numpy()
    first, second = (joined[f"{rule}_{name}"].to_numpy(bool) for name in ("one", "other"))
    n, sizes, both = len(joined), (int(first.sum()), int(second.sum())), int((first & second).sum())
    found: dict[str, Any] = {"common": n, "turned_one": sizes[0], "turned_other": sizes[1]}
    found |= {"both": both, "only_one": features[first & ~second].tolist()}
    found["only_other"] = features[second & ~first].tolist()
    found |= dict.fromkeys(("jaccard", "chance", "chance_alike", "p", "order"), np.nan)
    if min(sizes):
        tenths = np.array_split(np.argsort(joined["rate_one"].to_numpy(), kind="stable"), STRATA)
        alike = [first[t].sum() * second[t].sum() / len(t) for t in tenths if len(t)]
        found |= {"jaccard": both / int((first | second).sum()), "chance_alike": float(sum(alike))}
        found["chance"] = sizes[0] * sizes[1] / n
        found["p"] = float(hypergeom.sf(both - 1, n, *sizes))
    if n > STRATA and joined[["excess_one", "excess_other"]].nunique().min() > 1:
        found["order"] = float(spearmanr(joined["excess_one"], joined["excess_other"])[0])
    return found
