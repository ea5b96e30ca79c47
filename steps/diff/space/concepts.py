"""Which features tell one spatial relation from the others, on scenes that did not choose them.

Features are chosen on one half of the scenes (Benjamini & Hochberg over features and relations, as
a filter) and figures are of the other half: the best of hundreds is too good on the scenes that
made it the best. All questions have one wording, so that no token tells relations apart; what
the same features tell of the first object's attributes is asked on the same scenes.

Two things bound what the best feature is worth: labels permuted over scenes (the same choice, the
same halves), and features drawn at random (`random`), whose best is what a dictionary that learnt
nothing would offer (arXiv 2602.14111 finds such baselines near trained dictionaries).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import false_discovery_control
from torch import Tensor

from steps.data.speech import RELATIONS
from steps.diff.relations import HALVES
from steps.diff.sae import topk
from steps.diff.sae.saved import Dictionary
from steps.diff.space.auroc import auroc, greater, ranks

AXES = {"horizontal": ("left", "right"), "vertical": ("above", "below")}
LEAST = 10  # scenes with a label, scenes without, and scenes on which a feature fires, in a half
CHUNK = 50  # permutations at once


class Halves:
    """Ranks of features [n, f] within each half of the scenes, and labels [kinds, n] cut alike."""

    def __init__(self, codes: np.ndarray, half: np.ndarray) -> None:
        """Ranks codes [N, f]; half [N], of HALVES."""
        self.rows = [np.flatnonzero(half == name) for name in HALVES]
        self.select, self.report = (ranks(codes[rows]) for rows in self.rows)

    def auroc(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUROC [kinds, f] on the half that selects and on the one that reports."""
        select, report = (labels[:, rows] for rows in self.rows)
        return auroc(self.select, select), auroc(self.report, report)

    def greater(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One-sided p [kinds, f] on the same halves."""
        select, report = (labels[:, rows] for rows in self.rows)
        return greater(self.select, select), greater(self.report, report)


def kinds(values: pd.Series, groups: dict[str, tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Labels bool [N] by name: which scenes have one of a group's values."""
    return {name: values.isin(group).to_numpy() for name, group in groups.items()}


def relation_labels(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Labels of the four relations, and of the two axes that they lie on."""
    groups = {name: (name,) for name in RELATIONS} | AXES
    return kinds(table["relation"], groups)


def attribute_labels(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Labels of each value of each attribute of the first object: `color red`, ..."""
    found: dict[str, np.ndarray] = {}
    for column in [name for name in table if str(name).startswith("first_")]:
        if column != "first_box":
            values = table[column].dropna()
            groups = {f"{column[6:]} {value}": (value,) for value in sorted(set(values))}
            found |= kinds(table[column], groups)
    return found


def testable(labels: dict[str, np.ndarray], half: np.ndarray) -> dict[str, np.ndarray]:
    """Those labels that LEAST scenes of each half have, and as many have not."""
    return {
        name: label
        for name, label in labels.items()
        if all(LEAST <= label[half == h].sum() <= (half == h).sum() - LEAST for h in HALVES)
    }


def alive(codes: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Which features fire on LEAST scenes or more of the half that selects, bool [f]."""
    return (codes[half == HALVES[0]] > 0).sum(0) >= LEAST


def table(halves: Halves, labels: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row a feature (its place among those given) and relation (or axis), in these's order.

    auroc_select, p and q are of the half that selects, auroc and p_report of the other. q counts
    the relations and the axes as two families.
    """
    every = np.stack(list(labels.values()))
    select, report = halves.auroc(every)
    p, p_report = halves.greater(every)
    q = np.empty_like(p)
    axis = np.array([name in AXES for name in labels])
    for family in (axis, ~axis):
        if family.any():
            q[family] = false_discovery_control(p[family].ravel()).reshape(-1, p.shape[1])
    width = p.shape[1]
    columns = {"auroc_select": select, "auroc": report, "p": p, "q": q}
    columns["p_report"] = p_report
    names = {"place": np.tile(np.arange(width), len(p)), "relation": np.repeat([*labels], width)}
    return pd.DataFrame(names | {name: value.ravel() for name, value in columns.items()})


def strongest(halves: Halves, labels: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Each feature's best attribute: its name and its AUROC on the half that reports, both [f].

    Attribute and direction (fires, or fails to) are chosen on the other half, so that the best
    of many values of attributes is not too good.
    """
    select, report = halves.auroc(np.stack(list(labels.values())))
    best = np.abs(select - 0.5).argmax(0)
    each = np.arange(select.shape[1])
    value = report[best, each]
    return np.array([*labels])[best], np.where(select[best, each] < 0.5, 1 - value, value)


def winners(select: np.ndarray, report: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each kind [kinds, f] the largest AUROC that selects, and what that feature reports."""
    best = select.argmax(1)
    each = np.arange(len(select))
    return select[each, best], report[each, best]


def permuted(
    halves: Halves, labels: dict[str, np.ndarray], draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`winners` with labels permuted over the scenes of each half: twice [draws, kinds]."""
    every = np.stack(list(labels.values()))
    n, found = len(every), []
    for start in range(0, draws, CHUNK):
        count = min(CHUNK, draws - start)
        parts = []
        for rows, ranked in zip(halves.rows, (halves.select, halves.report), strict=True):
            drawn = [every[:, rng.permutation(rows)] for _ in range(count)]
            parts.append(auroc(ranked, np.concatenate(drawn)))
        found.append(winners(*parts))
    select, report = (np.concatenate(part).reshape(draws, n) for part in zip(*found, strict=True))
    return select, report


def random(dictionary: Any, seed: int) -> Callable[[Tensor], Tensor]:
    """Codes by a dictionary of the same size that learnt nothing: x [n, d] to [n, f].

    Random unit decoder rows, the encoder their transpose, as many of the largest a token as the
    trained one has (k, or what it averages on x); inputs are centred as that one centres them.
    """
    bias = dictionary.weights["b_dec"]
    width, d = dictionary.weights["W_dec"].shape
    generator = torch.Generator().manual_seed(seed)
    weights = topk.start(torch.zeros(1, d), width, generator)
    weights = {name: value.to(bias.device) for name, value in weights.items()} | {"b_dec": bias}

    def codes(x: Tensor) -> Tensor:
        k = dictionary.k or max(round(float((dictionary.codes(x) > 0).sum(1).float().mean())), 1)
        return Dictionary(weights, "topk", k, None, {}).codes(x)

    return codes
