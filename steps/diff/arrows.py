"""Nine dictionaries a site: along which arrows they are carried, on which scenes, and the gate.

    S  from the start, on cell S               D   S carried on to cell D    M   S carried on to M
    S2, D2, M2  the null of each: carried on   DF  D carried on to F         MF  M carried on to F
    where it was, for as long                  F2  the null of MF

Each arrow continues its parent with a fresh optimiser and the steps, learning rate and batch order
of its null, both on scenes that the parent was not fitted on: on scenes seen before a null hardly
moves, and fresh noise alone would be beyond it (stage `planted` measures both). Scenes are cut in
two halves, which take turns along a path. What a null moves is drift; only what an arrow moves
beyond it can be owed to the change of cell (Bricken et al. 2024,
transformer-circuits.pub/2024/model-diffing). Warm starts keep latent j latent j. All inputs of a
site are scaled by one number, the power of two that brings cell S's root mean square nearest to 1
(it divides biases exactly), so that norms do not leak into the comparison.

An arrow means something only where its parent has converged: where the parent's null, as long and
on the parent's own cell, leaves at least (1 - GATE) of its unexplained variance, or explains less
than SLIGHT of the variance besides; and where its child has followed the change: leaves at most
FOLLOWED of the variance more unexplained than the parent did. gate.json says so for each
parent ({site: {parent: {ratio, gained, converged}}}) and child ({site: {child: {lag, followed}}});
`compare` refuses the others' arrows.
"""

from pathlib import Path
from typing import Any

import numpy as np

from steps.diff import activations
from steps.diff.sae.fit import Plan

ARROWS: dict[str, tuple[str | None, str]] = {
    "S": (None, "S"),
    "S2": ("S", "S"),
    "D": ("S", "D"),
    "D2": ("D", "D"),
    "M": ("S", "M"),
    "M2": ("M", "M"),
    "DF": ("D", "F"),
    "MF": ("M", "F"),
    "F2": ("MF", "F"),
}
"""Each dictionary's parent and cell, in the order in which they are fitted."""
FINAL = "MF"
"""The one whose features are looked at: of the tuned model with the image; arms go on from it."""
NULLS = {"S": "S2", "D": "D2", "M": "M2", "MF": "F2"}
"""Each parent's null."""
HALVES = {"S": 0, "S2": 1, "D": 1, "M": 1, "D2": 0, "M2": 0, "DF": 0, "MF": 0, "F2": 1}
"""Which half of the scenes each is fitted on: another than its parent, the same as its siblings."""
SHARE, RATE = 1.0, 0.25
"""A second arrow's steps and learning rate, as shares of the first fit's: enough to follow a turned
feature, little enough that a converged dictionary's null stays narrow (measured in the tests)."""
GATE, SLIGHT, FOLLOWED = 0.1, 0.005, 0.1


def plans(want: Any, seed: int) -> dict[str, Plan]:
    """How each dictionary is fitted: those that S, or the start, is carried on to like S itself.

    want: params.diff. Dictionaries with one parent see the same batches in the same order.
    """
    found = {}
    for name, (parent, _) in ARROWS.items():
        late = parent not in (None, "S")
        steps = max(int(SHARE * want.steps), 1) if late else want.steps
        rate = RATE * want.learning_rate if late else want.learning_rate
        order = 3 * seed + (0 if parent is None else 1 + late)
        found[name] = Plan(want.k, steps, want.batch, rate, order, want.kind)
    return found


def rows(
    harvest: Path, cell: str, on: str, split: str = "fit", half: int | None = None
) -> np.ndarray:
    """Which tokens of a cell are in a split, and of the kind that is fitted to; bool [tokens].

    half: 0 or 1, of the scenes; None for all of them.
    """
    index = activations.index(harvest, cell)
    scene = index["type"].isin(["image", "told"]).to_numpy()
    kind = {"all": scene | True, "image": scene, "text": (index["type"] != "image").to_numpy()}
    mine = True if half is None else (index["sample"] % 2 == half).to_numpy()
    return (index["split"] == split).to_numpy() & kind[on] & mine


def converged(before: float, after: float) -> bool:
    """Whether going on where it was, from an FVU `before` to `after`, hardly helped."""
    return after >= (1 - GATE) * before or before - after < SLIGHT


def gate(
    sites: list[str], left: dict[tuple[str, str], float]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Which parents have converged, and which children followed the change of cell, by site.

    left: variance unexplained on held-out scenes, by site and dictionary.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for site in sites:
        own = found[site] = {}
        for parent, null in NULLS.items():
            before, after = left[site, parent], left[site, null]
            told = {"ratio": after / before, "gained": before - after}
            told["converged"] = converged(before, after)
            own[parent] = own.get(parent, {}) | told
        for child, (parent, _) in ARROWS.items():
            if parent is not None and child not in NULLS.values():
                lag = left[site, child] - left[site, parent]
                own[child] = own.get(child, {}) | {"lag": lag, "followed": lag <= FOLLOWED}
    return found
