"""Figures of heads that drive: concentration, agreement, what they look at; each with its null."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from steps.diff.drivers import concentration
from steps.diff.drivers.concentration import agreement, few, gini, interval, spearman
from steps.diff.drivers.driving import LABELS, Driven, mean


def sure(name: str, values: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Mean over scenes of values [S] with its 95 % interval; nothing where all are NaN."""
    if np.isnan(values).all():
        return {}
    low, high = interval(values, rng)
    return {name: float(np.nanmean(values)), f"{name}/low": float(low), f"{name}/high": float(high)}


def against(
    name: str, top: np.ndarray, rivals: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """Means over scenes of two figures [S], and of their difference, with its interval, as gap."""
    if np.isnan(top - rivals).all():
        return {}
    both = {name: float(np.nanmean(top)), f"{name}/rivals": float(np.nanmean(rivals))}
    return both | sure(f"{name}/gap", top - rivals, rng)


def concentrated(driven: Driven, share: float, rng: np.random.Generator) -> dict[str, float]:
    """On how few heads drives rest, by kind of target, and at what depth.

    selectivity: T on the relation minus on the other. gini; few: what the `share` of heads that
    lead on the other half holds, few/even what it would hold if all were alike; depth: mean layer,
    weighted by drive; halves: rank correlation of drives on both halves (by gradients, signed).
    gini/more: spatial features minus random ones; noise of few scenes draws drives towards one
    another's size, so its interval may lie to one side of it. profile/random, /margin: rank
    correlation over heads of the features' drives with those of random ones (sizes), and with those
    of the answer (signed).
    """
    effects = mean(driven.best(), 1)
    found: dict[str, Any] = {}
    layer = np.indices(effects.shape[1:])[0]
    for kind, name in LABELS.items():
        mine = driven.of(kind)
        if not len(mine):
            continue
        found |= sure(f"selectivity/{name}", mean(driven.apart[mine], 0), rng)
        reached = [~np.isnan(effects[i]) for i in mine]
        some = [
            (effects[i][known], driven.select[i][known])
            for i, known in zip(mine, reached, strict=True)
        ]
        tops = [few(share, len(one)) for one, _ in some]
        found[f"gini/{name}"] = np.mean([gini(one) for one, _ in some])
        held = [concentration.held(*one, top) for one, top in zip(some, tops, strict=True)]
        found[f"few/{name}"] = np.mean(held)
        even = [top / len(one) for (one, _), top in zip(some, tops, strict=True)]
        found[f"few/{name}/even"] = np.mean(even)
        drive = mean(driven.drive, 1)
        halves = [_alike(drive[i], driven.select[i]) for i in mine]
        found[f"halves/{name}"] = np.mean(halves)
        size = np.nan_to_num(mean(np.abs(effects[mine]), 0))
        found[f"depth/{name}"] = (size * layer).sum() / max(size.sum(), 1e-300)
    chosen, random = driven.of("chosen"), driven.of("random")
    if len(random):
        found["gini/more"] = found["gini/features"] - found["gini/random"]
        low, high = interval(
            driven.best().swapaxes(0, 1),
            rng,
            lambda means: _gini(means[chosen]) - _gini(means[random]),
        )
        found |= {"gini/more/low": low, "gini/more/high": high}
        sizes = [mean(np.abs(effects[some]), 0) for some in (chosen, random)]
        found["profile/random"] = _alike(*sizes)
    found["profile/margin"] = _alike(mean(effects[chosen], 0), effects[driven.of("margin")[0]])
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _gini(means: np.ndarray) -> float:
    """Mean over targets of the Gini coefficient of their drives [T, L, H]."""
    return float(np.mean([gini(one[~np.isnan(one)]) for one in means]))


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    known = ~np.isnan(one) & ~np.isnan(other)
    return spearman(one[known], other[known])


def agreements(driven: Driven, rng: np.random.Generator) -> dict[str, float]:
    """How drives by gradients agree with exact ones, over the heads patched.

    agreement/<kind>/spearman (with its interval over scenes), sign and top (`concentration.
    agreement`), means over targets. agreement/all/...: over the heads of the answer and all
    features together (not random ones).
    """
    exact, drive = mean(driven.exact, 1), mean(driven.drive, 1)
    known = ~np.isnan(exact) & ~np.isnan(drive)
    found: dict[str, Any] = {}
    for kind, name in LABELS.items():
        mine = [i for i in driven.of(kind) if known[i].any()]
        if not mine:
            continue
        each = [agreement(exact[i][known[i]], drive[i][known[i]]) for i in mine]
        for figure in each[0]:
            found[f"agreement/{name}/{figure}"] = np.mean([one[figure] for one in each])
        low, high = interval(
            np.stack([driven.exact[mine], driven.drive[mine]], 2).swapaxes(0, 1),
            rng,
            lambda means, mine=mine: np.mean(
                [spearman(*one[:, known[i]]) for one, i in zip(means, mine, strict=True)]
            ),
        )
        found |= {f"agreement/{name}/low": low, f"agreement/{name}/high": high}
    ours = np.concatenate([driven.of("margin"), driven.of("chosen")])
    pooled = agreement(exact[ours][known[ours]], drive[ours][known[ours]])
    found |= {f"agreement/all/{figure}": value for figure, value in pooled.items()}
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def seeing(
    paid: np.ndarray,
    area: np.ndarray,
    wrote: np.ndarray,
    chosen: np.ndarray,
    tops: dict[str, list[tuple[int, int]]],
    rng: np.random.Generator,
) -> dict[str, float]:
    """What leading heads look at and write, against the other heads of their layers.

    paid [S, L, H, 3], area [S] and wrote [T, S, L, H]: of `sights.looks`; chosen: indices of the
    spatial features. look/<kind>: attention to the two objects' patches; focus/<kind>: their share
    of what goes to the image, over their share of its area. writes: along features' decoder rows.
    """
    objects = paid.sum(-1) - paid[..., 2]
    focus = objects / paid.sum(-1) / np.where(area > 0, area, np.nan)[:, None, None]
    found: dict[str, float] = {}
    for kind, top in tops.items():
        if not top:
            continue
        name = LABELS[kind]
        found |= against(f"look/{name}", *beside(objects, top), rng)
        found |= against(f"focus/{name}", *beside(focus, top), rng)
    if tops["chosen"]:
        found |= against("writes", *beside(mean(wrote[chosen], 0), tops["chosen"]), rng)
    return found


def beside(values: np.ndarray, top: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Means of values [S, L, H] over heads `top`, and over the others of their layers [S]."""
    marked = np.zeros(values.shape[1:], bool)
    marked[tuple(np.transpose(top))] = True
    mine, others = [], []
    for layer, head in top:
        if not marked[layer].all():
            mine.append(values[:, layer, head])
            others.append(values[:, layer, ~marked[layer]].mean(1))
    if not mine:
        return np.full(len(values), np.nan), np.full(len(values), np.nan)
    return np.mean(mine, 0), np.mean(others, 0)
