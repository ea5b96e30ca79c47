"""Which items are trained on, tuned on and judged: no image is in two of these."""

from collections.abc import Iterable

from steps.data.own.item import Item
from steps.data.own.read import order


def parted(
    items: list[Item], tested: list[Item] | None, share: float, counts: dict[str, int], seed: int
) -> dict[str, list[Item]]:
    """Items of `train`, `tune` and `vqa`, at most `counts` of each.

    tested: those to judge on where they have a file of their own; else a `share` of the images,
    with all that is asked of them. As large a share of the others at most is for tuning. All
    seeds judge and tune on the same items, since they are not ours to draw; which of more training
    items than are wanted, and in which order, is the seed's.
    """
    if tested is None:
        tested = _some(items, "test", share * len(items))
        chosen = {one.id for one in tested}
        items = [one for one in items if one.id not in chosen]
    tune = _some(items, "tune", min(counts["tune"], share * len(items)))
    chosen = {one.id for one in tune}
    train = [one for one in items if one.id not in chosen]
    parts = {
        "train": _first(train, f"train/{seed}", counts["train"]),
        "tune": _first(tune, "tune", counts["tune"]),
        "vqa": _first(tested, "vqa", counts["vqa"]),
    }
    return parts


def _some(items: list[Item], use: str, wanted: float) -> list[Item]:
    """All items of so many images that they are about `wanted`; not of the last image there is."""
    groups: dict[str, list[Item]] = {}
    for one in items:
        groups.setdefault(str(one.image), []).append(one)
    found: list[Item] = []
    # By what is asked first of an image, not by its path: a folder may be moved.
    for group in sorted(groups.values(), key=lambda group: order(use, group[0].id))[:-1]:
        if found and len(found) >= wanted:
            break
        found += group
    return found


def _first(items: Iterable[Item], use: str, count: int) -> list[Item]:
    return sorted(items, key=lambda one: order(use, one.id))[:count]
