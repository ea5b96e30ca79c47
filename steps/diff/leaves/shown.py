"""Which features the atlas shows, by a fixed rule, and what earlier stages' tables call things.

Three groups take turns, each with its best feature not yet taken, until three quarters are full;
the rest is drawn from what is left:

    spatial   selected by the stage `spatial`, highest AUROC first
    turned    beyond the null: in both orders first (the corner), then by degrees of excess
    visual    their energy prefers questions with the image to the same told in words, by the lower
              end of that share's interval where there is one
    foil      drawn at random from those alive: what any feature looks like

Ties go to the earlier site, then the lower index.
"""

import numpy as np
import pandas as pd

GROUPS = ("spatial", "turned", "visual", "foil")
CELLS = {"S": "S", "D": "D", "M": "M", "F": "MF"}
"""Cell: the dictionary whose rates are shown for it."""
KINDS = ("image", "question", "answer", "told")
NAMES = {
    "alive": ("alive", "alive_MF"),
    "visual": ("visual",),
    "visual_low": ("visual_low",),
    "corner": ("corner",),
    **{
        f"{name}_{order}": told
        for order in "xy"
        for name, told in {
            "class": (f"class_{order}", "class"),
            "cosine": (f"cosine_{order}", order),
            "null": (f"null_{order}", f"{order}_null"),
            "settled": (f"settled_{order}", "settled"),
            "quantile": (f"quantile_{order}",),
            "excess": (f"excess_{order}",),
            "beyond": (f"beyond_{order}",),
            "paired": (f"paired_{order}",),
        }.items()
    },
    **{
        f"rate_{cell}_{kind}": (f"rate_{name}_{kind}", f"rate_{cell}_{kind}")
        for cell, name in CELLS.items()
        for kind in KINDS
    },
}
"""What the atlas calls a column of compare's features.parquet: what it may be called there."""
SCORES = ("auroc_select", "auroc")
"""What spatial's table may call the AUROC that its features were selected by."""


def tidy(features: pd.DataFrame) -> pd.DataFrame:
    """The table of `compare` with the names of NAMES, in the order of sites and features.

    A column that is not there is empty. Without `alive` all features count as alive.
    """
    found = features[["site", "feature"]].copy()
    for name, told in NAMES.items():
        there = [column for column in told if column in features]
        found[name] = features[there[0]].to_numpy() if there else np.nan
    flags = (
        "alive",
        "corner",
        *(f"{name}_{o}" for name in ("beyond", "paired", "settled") for o in "xy"),
    )
    for name in flags:
        found[name] = found[name].fillna(name == "alive").astype(bool)
    return found.sort_values(["site", "feature"], ignore_index=True)


def choose(
    features: pd.DataFrame, spatial: pd.DataFrame | None, count: int, seed: int
) -> pd.DataFrame:
    """Rows of `features` (from `tidy`) to be shown, at most `count`, with the column `why`.

    why: the group that took it. The order is that of the groups, and within one that of its rule.
    """
    living = features[features["alive"]]
    known = len(living["visual_low"].dropna())
    lines = {
        "spatial": _spatial(living, spatial),
        "turned": _turned(living),
        "visual": _ranked(living["visual_low" if known else "visual"].dropna()),
    }
    taken: dict[str, list[int]] = {name: [] for name in GROUPS}
    foils, used = count // len(GROUPS), set[int]()
    while any(lines.values()) and len(used) < count - foils:
        for name, line in lines.items():
            line[:] = [row for row in line if row not in used]
            if line and len(used) < count - foils:
                taken[name].append(line[0])
                used.add(line[0])
    left = np.array([row for row in living.index if row not in used], int)
    taken["foil"] = list(np.random.default_rng([seed, 41]).permutation(left)[:foils])
    rows = [(row, name) for name in GROUPS for row in taken[name]]
    found = features.loc[[row for row, _ in rows]].reset_index(drop=True)
    return found.assign(why=[name for _, name in rows])


def _spatial(living: pd.DataFrame, spatial: pd.DataFrame | None) -> list[int]:
    if spatial is None or "selected" not in spatial:
        return []
    some = spatial[["site", "feature"]].assign(score=_score(spatial))[spatial["selected"].eq(True)]
    best = some.groupby(["site", "feature"])["score"].max()
    keys = pd.MultiIndex.from_frame(living[["site", "feature"]])
    chosen = pd.Series(best.reindex(keys).to_numpy(), living.index)
    return _ranked(chosen[keys.isin(best.index)])


def _turned(living: pd.DataFrame) -> list[int]:
    beyond = np.stack([living[f"beyond_{order}"] for order in "xy"])
    excess = np.stack([living[f"excess_{order}"] for order in "xy"]).astype(float)
    furthest = np.where(beyond, np.nan_to_num(excess), -np.inf).max(0)
    some = pd.DataFrame({"corner": living["corner"], "far": furthest}, living.index)
    some = some[np.isfinite(furthest)]
    return list(some.sort_values(["corner", "far"], ascending=False, kind="stable").index)


def _ranked(values: pd.Series) -> list[int]:
    return list(values.sort_values(ascending=False, kind="stable").index)


def _score(spatial: pd.DataFrame) -> pd.Series:
    """The AUROC that spatial's rows were selected by; empty where its column is unknown."""
    there = [name for name in SCORES if name in spatial]
    return spatial[there[0]] if there else pd.Series(np.nan, spatial.index)
