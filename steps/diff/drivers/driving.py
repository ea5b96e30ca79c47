"""Drives of heads for all targets at once: who leads, what is worth patching, and the table."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from steps.diff.drivers.concentration import few, interval
from steps.diff.drivers.patching import PARTS, Drives
from steps.diff.drivers.sights import PLACES
from steps.diff.drivers.targets import Target, turns

LABELS = {"margin": "margin", "chosen": "features", "random": "random"}
"""Kinds of targets, as metrics call them."""


def mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is not NaN; NaN where there is nothing else."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice")
        return np.nanmean(values, axis=axis)


class Driven:
    """Drives over scale [T], from the half to choose on (means over scenes) and that to report on.

    select [T, L, H]: the former. drive, exact [T, S, L, H]: the latter by gradients and by
    patching (NaN where it was not done). parts [T, 2, L, H]: means of drive by PARTS. apart [T, S]:
    T on the relation minus T on the other.
    """

    def __init__(
        self,
        aims: Sequence[Target],
        first: Drives,
        again: Drives,
        scale: np.ndarray,
        table: pd.DataFrame,
    ) -> None:
        """scale: what one of each target's units is [T]. table: of the scenes reported on."""
        wide = scale[:, None, None, None]
        self.aims, self.kinds = aims, np.array([aim.kind for aim in aims])
        self.scale, self.select = scale, mean(first.total / wide, 1)
        self.parts = mean(again.drive / wide[..., None], 1)
        self.drive = again.total / wide
        self.exact = np.full(self.drive.shape, np.nan)
        self.apart = (again.scene - again.twin) * turns(aims, table) / scale[:, None]

    def of(self, kind: str) -> np.ndarray:
        """The targets of a kind: indices."""
        return np.flatnonzero(self.kinds == kind)

    def lead(self, kind: str) -> np.ndarray:
        """Mean drive of a kind of targets on the half to choose on [L, H]."""
        return mean(self.select[self.of(kind)], 0)

    def leaders(self, kind: str, share: float) -> list[tuple[int, int]]:
        """The `share` of heads (layer, head) in reach that drive a kind most, on that half."""
        flat = self.lead(kind).ravel()
        order = np.argsort(-np.nan_to_num(flat, nan=-np.inf), kind="stable")
        reached = int((~np.isnan(flat)).sum())
        return [self._unit(i) for i in order[: few(share, reached) if reached else 0]]

    def worth(self, exact: int, random: int, rng: np.random.Generator) -> list[tuple[int, int]]:
        """Heads to patch: all if there are at most `exact`, else the strongest and some random."""
        sizes = [np.abs(np.nan_to_num(self.lead(kind))).ravel() for kind in ("margin", "chosen")]
        shares = [size / max(size.sum(), 1e-300) for size in sizes]
        order = np.argsort(-np.max(shares, 0), kind="stable")
        some, rest = order[:exact], order[exact:]
        if len(rest):
            some = np.concatenate([some, rng.choice(rest, min(random, len(rest)), replace=False)])
        return sorted(self._unit(i) for i in some)

    def _unit(self, flat: int) -> tuple[int, int]:
        layer, head = divmod(int(flat), self.select.shape[2])
        return layer, head

    def patched(self, which: Sequence[tuple[int, int]], drives: np.ndarray) -> None:
        """Take in exact drives [T, S, heads] of the heads `which`."""
        for i, (layer, head) in enumerate(which):
            self.exact[:, :, layer, head] = drives[..., i] / self.scale[:, None]

    def best(self) -> np.ndarray:
        """Exact drives if every head was patched, else those by gradients [T, S, L, H]."""
        known = ~np.isnan(self.exact).all(1) | np.isnan(self.drive).all(1)
        return self.exact if known.all() else self.drive

    def table(self, paid: np.ndarray, wrote: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
        """heads.parquet: a row a target and head that can reach it, from the half to report on.

        attribution and exact: drives, with their intervals over scenes as _low and _high;
        chosen_on: attribution on the other half; missed: exact is not 0 for sure, and attribution
        has another sign or is less than half of it. first, second, other: attention there
        (`sights.looks`: paid, wrote). writes: along the feature's decoder row.
        """
        layer, head = np.indices(self.select.shape[1:])
        looked = {name: mean(paid[..., i], 0) for i, name in enumerate(PLACES)}
        rows = []
        for i, aim in enumerate(self.aims):
            found = {"layer": layer, "head": head, "chosen_on": self.select[i]}
            for name, drives in (("attribution", self.drive[i]), ("exact", self.exact[i])):
                low, high = interval(drives, rng)
                found |= {name: mean(drives, 0), f"{name}_low": low, f"{name}_high": high}
            sure = found["exact_low"] * found["exact_high"] > 0
            ratio = found["attribution"] / np.where(found["exact"] == 0, np.nan, found["exact"])
            found["missed"] = sure & (ratio < 0.5)
            found |= {f"attribution_{part}": self.parts[i, k] for k, part in enumerate(PARTS)}
            found |= looked | {"writes": mean(wrote[i], 0)}
            some = pd.DataFrame({name: values.ravel() for name, values in found.items()})
            for at, name in enumerate(("kind", "site", "feature", "relation")):
                some.insert(at, name, getattr(aim, name))
            rows.append(some[some["attribution"].notna()])
        return pd.concat(rows, ignore_index=True)
