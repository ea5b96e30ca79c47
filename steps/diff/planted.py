"""The method on activations whose truth is known: which atoms turned, and which are found.

Each token is a sum of few unit atoms; after, some atoms have turned, and the tokens are drawn with
the same codes and fresh noise. A dictionary is fitted before, and carried on to after and to its
null as in the stage `dictionary`; what turned is then asked of `nulls.turned`, as in `compare`.

    tenth         a tenth of the atoms turned by 45 degrees
    harder        a twentieth turned by 30 to 60 degrees
    nothing       none: fresh noise alone
    early         as tenth, from a dictionary that the gate lets pass after a quarter of the steps
    undertrained  as tenth, at a twentieth of the learning rate: the gate must refuse it

In these, null and after go on with the tokens that the dictionary was fitted on. In `tenth_new`,
`harder_new` and `nothing_new` both go on with tokens that it never saw. It matters: on tokens seen
before, the null hardly moves, and what fresh noise alone does is then beyond it.

Two truths are told apart, because a dictionary is not
all atoms: of *recovered* features (cosine above .9 to an atom), and of all living ones by the atom
nearest to them, most of those that are no atom being mixtures of several.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.diff import arrows
from steps.diff.sae import topk
from steps.diff.sae.fit import Plan, fit
from steps.diff.sae.saved import Dictionary
from steps.diff.turning import measures, nulls, roc
from steps.track import log

ATOMS, WIDE, TOKENS, ACTIVE, NOISE = 256, 48, 20_000, 5, 0.02
WIDTH, K, STEPS, BATCH, RATE = 320, 8, 600, 512, 4e-3
HELD = 4_000  # tokens besides, which no fit sees: for the gate
PARTS = slice(TOKENS), slice(TOKENS, 2 * TOKENS), slice(2 * TOKENS, None)
"""Tokens that the first fit reads, new ones, and those held out."""
CASES = {
    "tenth": (0.1, (45, 45), STEPS, RATE, False),
    "harder": (0.05, (30, 60), STEPS, RATE, False),
    "nothing": (0.0, (0, 0), STEPS, RATE, False),
    "tenth_new": (0.1, (45, 45), STEPS, RATE, True),
    "harder_new": (0.05, (30, 60), STEPS, RATE, True),
    "nothing_new": (0.0, (0, 0), STEPS, RATE, True),
    "early": (0.1, (45, 45), STEPS // 4, RATE, False),
    "undertrained": (0.1, (45, 45), STEPS, 2e-4, False),
}
"""Share of the atoms that turn, least and most degrees; the first fit's steps and learning rate;
whether what follows reads new tokens."""
RECOVERED = 0.9  # cosine to an atom from which a feature is that atom


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Validate the method on planted turns, drawn by params.run.seed; reads nothing else.

    Writes features.parquet (a row a case and feature), roc.parquet and roc.png. Metrics of each
    case: gate, by how much the null continuation improved held-out FVU, and whether that is
    refused, and what `roc.rates` gives.
    """
    torch.set_num_threads(params.run.threads)
    seed, metrics, frames, curves = params.run.seed, {}, [], []
    begun: dict[tuple, tuple[topk.Weights, topk.Weights]] = {}
    first, _, held = PARTS
    for case, (share, span, steps, rate, new) in CASES.items():
        atoms, turned, x, y = plant(seed, share, span)
        plan, part = Plan(K, steps, BATCH, rate, 2 * seed), PARTS[new]
        if (key := (steps, rate, new)) not in begun:  # before the turn, all cases are the same
            start = topk.start(x[first], WIDTH, torch.Generator().manual_seed(seed))
            before = fit({"": x[first]}, {"": start}, plan)[""].weights
            begun[key] = before, _on(x[part], before, plan)
        before, null = begun[key]
        after = _on(y[part], before, plan)
        left = _fvu(before, x[held]), _fvu(null, x[held])
        features = verdict(before, after, null, x[part], y[part])
        features = truth(features, before["W_dec"], atoms, turned).assign(case=case)
        found = {"gate": 1 - left[1] / left[0], "refused": float(not arrows.converged(*left))}
        found |= roc.rates(features, turned.numpy())
        metrics |= {f"planted/{case}/{name}": value for name, value in found.items()}
        frames.append(features)
        curves.append(roc.curves(features).assign(case=case))
        log.text(f"planted: {case}, {int(turned.sum())} of {ATOMS} atoms turned")
    pd.concat(frames, ignore_index=True).to_parquet(out / "features.parquet", index=False)
    curve = pd.concat(curves, ignore_index=True)
    curve.to_parquet(out / "roc.parquet", index=False)
    roc.figure(curve, metrics, out / "roc.png")
    log.figure(out / "roc.png")
    return metrics


def plant(
    seed: int,
    share: float,
    span: tuple[float, float],
    atoms: int = ATOMS,
    width: int = WIDE,
    tokens: int = 2 * TOKENS + HELD,
    active: float = ACTIVE,
    noise: float = NOISE,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Activations before and after `share` of their atoms turned by degrees drawn from `span`.

    Each token is a sum of about `active` of the unit atoms [atoms, width] (weights .5 to 1.5) and
    a little noise, fresh after; the same codes before and after. Returns atoms, turned [bool],
    before and after [tokens, width], these scaled by one number so that `before` has unit root mean
    square. What is before does not depend on `share` and `span`.
    """
    g = torch.Generator().manual_seed(seed)
    before = torch.nn.functional.normalize(torch.randn(atoms, width, generator=g))
    turned = torch.zeros(atoms, dtype=torch.bool)
    turned[torch.randperm(atoms, generator=g)[: round(share * atoms)]] = True
    away = torch.randn(atoms, width, generator=g)
    away -= (away * before).sum(1, keepdim=True) * before
    away = torch.nn.functional.normalize(away)
    least, most = (math.radians(angle) for angle in span)
    angle = least + (most - least) * torch.rand(atoms, 1, generator=g)
    after = torch.where(turned[:, None], angle.cos() * before + angle.sin() * away, before)
    codes = 0.5 + torch.rand(tokens, atoms, generator=g)
    codes *= torch.rand(tokens, atoms, generator=g) < active / atoms
    x = codes @ before + noise * torch.randn(tokens, width, generator=g)
    y = codes @ after + noise * torch.randn(tokens, width, generator=g)
    scale = 1 / x.square().mean().sqrt()
    return before, turned, x * scale, y * scale


def _on(x: Tensor, before: topk.Weights, first: Plan) -> topk.Weights:
    """A continuation on x, as the stage `dictionary` makes it."""
    plan = replace(
        first,
        steps=max(int(arrows.SHARE * first.steps), 1),
        learning_rate=arrows.RATE * first.learning_rate,
        seed=first.seed + 1,
    )
    return fit({"": x}, {"": before}, plan)[""].weights


def _reader(weights: topk.Weights) -> Dictionary:
    return Dictionary(weights, "topk", K, None, {})


def _fvu(weights: topk.Weights, x: Tensor) -> float:
    reader = _reader(weights)
    return measures.fvu(x, reader.decode(reader.codes(x)))


def verdict(
    before: topk.Weights, after: topk.Weights, null: topk.Weights, x: Tensor, y: Tensor
) -> pd.DataFrame:
    """A row a feature: cosines to after and null, alive, and what `nulls.turned` says of them."""
    one = np.zeros(len(x), np.int64)
    seen = [
        measures.activity(_reader(weights), of, one, 1, one)[0]
        for weights, of in ((before, x), (after, y), (null, x))
    ]
    alive = np.logical_and.reduce([each.alive for each in seen])
    cosine, drift = (measures.cosines(before["W_dec"], other["W_dec"]) for other in (after, null))
    found = nulls.turned(cosine, drift, seen[0].rate, alive)
    return found.assign(cosine=cosine, null=drift, alive=alive)


def truth(features: pd.DataFrame, rows: Tensor, atoms: Tensor, turned: Tensor) -> pd.DataFrame:
    """With the nearest atom of each decoder row, whether that turned, and whether it is it."""
    cosine, nearest = (rows @ atoms.T).max(1)
    return features.assign(
        atom=nearest.numpy(),
        turned=turned[nearest].numpy(),
        recovered=(cosine > RECOVERED).numpy() & features["alive"],
    )
