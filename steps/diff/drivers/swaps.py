"""Heads of the tuned model exchanged for those it had before, or silenced: what is lost?

A head is its slices of the query, key, value and output matrices (and biases). Where several query
heads share a key-value head, it cannot be exchanged alone: the group is. Everything is held against
as many other heads, drawn from the same layers: any exchange disturbs the model.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.data.speech import RELATIONS
from steps.diff import hooks, reading
from steps.diff.drivers.pairs import Pairs
from steps.diff.drivers.patching import heads, sites
from steps.diff.drivers.targets import Target, turns, values
from steps.diff.reading import Asked
from steps.stage import StageError

PATIENCE = 20
"""How often a set of random heads is drawn for each that is wanted."""
Unit = tuple[int, int]
"""A layer, and a head (or a group of heads that share a key-value head) in it."""
Edits = Callable[[int, Asked], dict[str, Callable[[Tensor], Tensor]]]


def group(model: Any) -> int:
    """How many query heads share a key-value head."""
    config = model.get_decoder().config
    return config.num_attention_heads // config.num_key_value_heads


@contextmanager
def swapped(model: Any, other: Any, groups: Iterable[Unit]) -> Iterator[None]:
    """While open, groups (layer, group) of `model` have the weights of `other`.

    Raises StageError for attention that is not made of q_proj, k_proj, v_proj and o_proj.
    """
    kept: list[tuple[Tensor, Tensor]] = []
    try:
        with torch.no_grad():
            for layer, number in groups:
                theirs = _slices(other, layer, number)
                for mine, new in zip(_slices(model, layer, number), theirs, strict=True):
                    kept.append((mine, mine.clone()))
                    mine.copy_(new)
        yield
    finally:
        with torch.no_grad():
            for mine, old in kept:
                mine.copy_(old)


def _slices(model: Any, layer: int, number: int) -> list[Tensor]:
    """Views into the weights and biases of a group of heads."""
    attention = hooks.decoder_layers(model)[layer].self_attn
    names = ("q_proj", "k_proj", "v_proj", "o_proj")
    if not all(hasattr(attention, name) for name in names):
        raise StageError(
            f"the model's attention is not made of {', '.join(names)}, so that no head of it can "
            "be exchanged: leave heads out of `instruments`"
        )
    width = attention.o_proj.in_features // heads(model)[1]
    wide, own = group(model) * width, slice(number * width, (number + 1) * width)
    shared = slice(number * wide, (number + 1) * wide)
    found = [attention.o_proj.weight.detach()[:, shared]]
    for name, rows in zip(names, (shared, own, own), strict=False):
        module = getattr(attention, name)
        found += [part.detach()[rows] for part in (module.weight, module.bias) if part is not None]
    return found


def usual(model: Any, processor: Any, pairs: Pairs, batch: int) -> dict[str, Tensor]:
    """Site to what its heads give on average, by token type [types + 1, H * dh], the rest last."""
    layers = heads(model)[0]
    places = [f"heads.{layer}" for layer in range(layers)]
    sums, counts = dict.fromkeys(places, torch.zeros(())), torch.zeros(5)
    for asked in (pairs.clean, pairs.twin):
        for read in reading.read(model, processor, asked, places, batch):
            rows = asked.rows(slice(read.start, read.start + batch))
            kinds = torch.where(read.types < 0, 4, read.types)
            hot = torch.nn.functional.one_hot(kinds, 5).float() * rows.mask[..., None]
            counts += hot.sum((0, 1))
            for place in places:
                x = read.seen[place].float()
                sums[place] = sums[place] + torch.einsum("bpk,bpd->kd", hot.to(x), x).cpu()
    return {place: total / counts.clamp_min(1)[:, None] for place, total in sums.items()}


def silenced(average: dict[str, Tensor], units: Iterable[Unit], count: int) -> Edits:
    """Edits that give heads (layer, head) their average for each token's type (`usual`)."""
    chosen: dict[str, list[int]] = {}
    for layer, head in units:
        chosen.setdefault(f"heads.{layer}", []).append(head)

    def edits(start: int, rows: Asked) -> dict[str, Callable[[Tensor], Tensor]]:
        def change(site: str) -> Callable[[Tensor], Tensor]:
            def act(x: Tensor) -> Tensor:
                usually = average[site].to(x)[rows.types.to(x.device)].unflatten(-1, (count, -1))
                x = x.unflatten(-1, (count, -1)).clone()
                x[:, :, chosen[site]] = usually[:, :, chosen[site]]
                return x.flatten(-2)

            return act

        return {site: change(site) for site in chosen}

    return edits


def rivals(units: Sequence[Unit], per_layer: np.ndarray, rng: np.random.Generator) -> list[Unit]:
    """As many others as `units`, from the same layers; what a layer lacks comes from any.

    per_layer: how many units each layer has [L]. Raises StageError where too few are left.
    """
    taken = set(units)
    rest = [
        (layer, unit)
        for layer, count in enumerate(per_layer)
        for unit in range(count)
        if (layer, unit) not in taken
    ]
    if len(rest) < len(taken):
        raise StageError(
            f"heads.few takes {len(taken)} of {per_layer.sum()} heads or groups of heads, which "
            "leaves too few to compare them with: lower it"
        )
    order = [rest[i] for i in rng.permutation(len(rest))]
    drawn: list[Unit] = []
    for layer in {layer for layer, _ in taken}:
        wanted = sum(layer == own for own, _ in taken)
        drawn += [unit for unit in order if unit[0] == layer][:wanted]
    return sorted(drawn + [unit for unit in order if unit not in drawn][: len(taken) - len(drawn)])


def rounds(
    units: Sequence[Unit], per_layer: np.ndarray, draws: int, rng: np.random.Generator
) -> list[list[Unit]]:
    """Up to `draws` sets of `rivals`, none twice: a small model has few."""
    found: list[list[Unit]] = []
    for _ in range(PATIENCE * draws):
        if len(found) < draws and (one := rivals(units, per_layer, rng)) not in found:
            found.append(one)
    return found


def outcome(
    model: Any,
    processor: Any,
    pairs: Pairs,
    aims: Sequence[Target],
    scale: np.ndarray,
    choices: Tensor,
    batch: int,
    other: Any = None,
    groups: Iterable[Unit] = (),
    edits: Edits | None = None,
) -> dict[str, np.ndarray]:
    """What the model makes of scenes and twins, with groups of heads from `other`, or `edits`.

    margin and accuracy: log-odds of the true relation, and whether it is the likeliest of the four,
    mean of a scene and its twin [S]. selectivity: T on the feature's relation minus T on the other,
    over scale [T], mean over features [S]; NaN where no feature is about the scene's relations.
    """
    truths, seen = (pairs.true(), pairs.swapped()), []
    margins, right = [], []
    with ExitStack() as stack:
        if other is not None:
            stack.enter_context(swapped(model, other, groups))
        for asked, true in zip((pairs.clean, pairs.twin), truths, strict=True):
            found, scores = [], []
            for read in reading.read(model, processor, asked, sites(aims), batch, edits):
                own = true[read.start : read.start + batch]
                found.append(values(read, aims, choices, own).double().cpu())
                scores.append(read.logits[:, choices.to(read.logits.device)].cpu())
            logits = torch.cat(scores)
            seen.append(torch.cat(found, 1).numpy())
            margins.append(reading.margins(logits, torch.arange(len(RELATIONS)), true))
            right.append(logits.argmax(1).numpy() == true)
    apart = (seen[0] - seen[1]) * turns(aims, pairs.table) / scale[:, None]
    known = ~np.isnan(apart)
    some = np.where(known, apart, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
    return {"margin": np.mean(margins, 0), "accuracy": np.mean(right, 0), "selectivity": some}
