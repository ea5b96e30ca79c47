"""One site of the language model: its dictionaries and activations, each looked at once."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.diff import activations, stream
from steps.diff.activations import TYPES
from steps.diff.arrows import ARROWS
from steps.diff.sae import saved
from steps.diff.turning import align, measures
from steps.models import load

ORDERS = {"SD": ("S", "D", "S2"), "SM": ("S", "M", "S2")}
ORDERS |= {"x": ("D", "DF", "D2"), "y": ("M", "MF", "M2")}
"""Arrow: parent, child, and the parent's null."""
ELSEWHERE = (("S", "D"), ("S", "M"), ("S", "F"), ("D", "F"))
"""Dictionaries on what they never saw, whose reconstruction is judged too."""
WORDS = [TYPES.index("question"), TYPES.index("answer")]
"""The types that inputs with and without the image have in common."""


def gate(folder: Path) -> dict[str, Any]:
    """What a dictionary stage's gate says of each site and dictionary; see `dictionary`."""
    return json.loads((folder / "gate.json").read_text())


class Site:
    """The dictionaries in a site's folder, and the harvest's activations there.

    quality: variance unexplained on held-out scenes, active latents and the dead, by dictionary.
    fits: what an orthogonal map between cells explains. passed: the gate's verdicts. refused:
    orders whose parent had not converged or whose child had not followed.
    """

    def __init__(self, inputs: dict[str, Path], folder: Path) -> None:
        """inputs: harvest, and the base and items that it was made of.

        folder: `<dictionary's results>/<site>`.
        """
        self.inputs, self.folder = inputs, folder
        self.harvest = Path(inputs["harvest"])
        self.passed = passed = gate(folder.parent)[folder.name]
        self.refused = {
            order
            for order, (parent, child, _) in ORDERS.items()
            if not (passed[parent]["converged"] and passed[child]["followed"])
        }
        self.quality: dict[str, float] = {}
        self.fits: dict[str, float] = {}
        # a cache per site, not per class: results live as long as the site
        for name in ("load", "read", "index", "look", "_turn"):
            setattr(self, name, cache(getattr(self, name)))

    def load(self, name: str) -> Any:
        """A dictionary."""
        return saved.load(self.folder / name).to(load.device())

    def read(self, cell: str) -> Tensor:
        """A cell's activations, float32 [tokens, d]."""
        return stream.read(self.inputs, cell, self.folder.name)

    def index(self, cell: str) -> pd.DataFrame:
        """What the cell's rows are."""
        return activations.index(self.harvest, cell)

    def types(self, cell: str) -> np.ndarray:
        """Each row's number in TYPES."""
        return pd.Categorical(self.index(cell)["type"], list(TYPES)).codes.astype(np.int64)

    def held(self, cell: str) -> np.ndarray:
        """Which rows are of held-out scenes."""
        return (self.index(cell)["split"] == "eval").to_numpy()

    def look(self, name: str, cell: str) -> measures.Activity:
        """What a dictionary makes of a cell; energies of samples are of their words."""
        x, types = self.read(cell), self.types(cell)
        sample = self.index(cell)["sample"].to_numpy(dtype=np.int64)
        groups = np.where(np.isin(types, WORDS), sample, -1)
        seen, again = measures.activity(self.load(name), x, types, len(TYPES), groups)
        own = ARROWS[name][1] == cell
        if own or (name, cell) in ELSEWHERE:
            where = f"fvu/{name}" if own else f"fvu/{name}_on_{cell}"
            held = self.held(cell)
            kinds = {"all": held} | {kind: held & (types == i) for i, kind in enumerate(TYPES)}
            for kind, rows in kinds.items():
                if rows.sum() > 1:
                    self.quality[f"{where}/{kind}"] = measures.fvu(x, again, torch.tensor(rows))
        if own:
            self.quality[f"l0/{name}"] = float(seen.rate.sum())
            self.quality[f"dead/{name}"] = float((~seen.alive).mean())
        return seen

    def cosines(self, parent: str, child: str) -> np.ndarray:
        """Cosine of each feature's directions in two dictionaries [f]."""
        return measures.cosines(*(self.load(name).weights["W_dec"] for name in (parent, child)))

    def aligned(self, parent: str, child: str) -> np.ndarray:
        """The same behind the orthogonal map between their cells; NaN where none can be fitted."""
        one, other = (self.load(name).weights["W_dec"].cpu() for name in (parent, child))
        turn = self._turn(ARROWS[parent][1], ARROWS[child][1])
        if turn is None:
            return np.full(len(one), np.nan)
        return measures.cosines(one.double() @ turn, other)

    def _turn(self, one: str, other: str) -> Tensor | None:
        rows = align.shared(self.index(one), self.index(other))
        cells = zip((one, other), rows, strict=True)
        x, y = (self.read(cell)[torch.tensor(some)] for cell, some in cells)
        found = align.orthogonal(x, y, ~self.held(one)[rows[0]])
        if found is None:
            return None
        turn, shares = found
        self.fits |= {f"procrustes/{one}{other}/{name}": v for name, v in shares.items()}
        return turn
