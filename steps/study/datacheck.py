"""A look at a study's own data before anything is trained: counts, lengths, doubles, samples.

Nothing is written but the page and its figures; sets are those of the study's first seed. Images
are opened as the stage `items` opens them, MOST of them at most, and counted by their bytes.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from steps.data.own import boxes
from steps.data.own.images import Key, Shown, contents, shown
from steps.data.own.item import Item
from steps.data.own.parts import parted
from steps.data.own.read import Read, order, read
from steps.data.own.spec import settled
from steps.data.readers.pictures import Flaw
from steps.params import ParamsError
from steps.study import datapage
from steps.study.plan import write

MOST = 20_000
"""Images that are opened; of more, so many drawn at random."""
SAMPLES, LISTED, ANSWERS = 24, 200, 30
"""Samples shown, broken items and doubles listed, and answers told with their numbers."""
SIDE = 160
"""Pixels of a sample's picture."""
NAMES = ("data-check.html", "data-check.json")


def look(params: Any, results: Path) -> dict[str, Any]:
    """Write data-check.html and data-check.json into `results`; returns the figures.

    Raises ParamsError for a study that asks the embedded world, StageError as `read.read` does.
    """
    data = params.data
    if data.source != "files":
        raise ParamsError(
            "data.source = 'world': this study's questions are the embedded world's; name a study "
            "of your own data, make data-check STUDY=own_data"
        )
    spec = settled(data)
    done = read(spec, spec.path, data.max_characters, data.limit)
    other = Read()
    if spec.test_path is not None:
        other = read(spec, spec.test_path, data.max_characters, None)
        for one in other.items:
            one.id = f"test/{one.id}"
    counts = {name: getattr(params.items, name) for name in ("train", "tune", "vqa")}
    tested = other.items if spec.test_path is not None else None
    parts = parted(done.items, tested, data.test_share, counts, params.seeds[0])
    owner = {one.id: name for name, items in parts.items() for one in items}
    every = [one for items in parts.values() for one in items]
    broken, digests, samples = _opened(every, data)
    left = Counter(done.reasons) + Counter(other.reasons)
    left["not drawn"] += len(done.items) + len(other.items) - len(every)
    told = {
        "study": params.study.name,
        "path": str(spec.path),
        "columns": spec.columns,
        "reward": list(spec.reward),
        "rows": done.rows + other.rows,
        "left_out": {why: n for why, n in left.most_common() if n},
        "later_turns_left_out": done.turns + other.turns,
        "sets": {name: facts(items) for name, items in parts.items()},
        "images_opened": len(digests) + len({_key(one) for one in every if one.id in broken}),
        "images": len({_key(one) for one in every}),
        "broken": len(broken),
        "reasons": dict(Counter(broken.values()).most_common()),
        "broken_items": dict(list(broken.items())[:LISTED]),
        "doubles": doubles(every, owner, digests),
    }
    results.mkdir(parents=True, exist_ok=True)
    write(results / NAMES[1], json.dumps(told, indent=1) + "\n")
    write(results / NAMES[0], datapage.render(told, samples, owner))
    return told


def said(told: dict[str, Any], results: Path) -> str:
    """The figures in a few lines."""
    sets = ", ".join(f"{facts['items']} to {name}" for name, facts in told["sets"].items())
    lines = [f"{told['path']}: {told['rows']} rows; {sets}"]
    for what, many in (("left out", told["left_out"]), ("broken", told["reasons"])):
        if many:
            lines.append(f"{what}: " + ", ".join(f"{n} {why}" for why, n in many.items()))
    for name, pairs in told["doubles"].items():
        lines += [f"{name}: {n} {where}" for where, n in pairs["numbers"].items()]
    if told["images_opened"] < told["images"]:
        lines.append(f"images: {told['images_opened']} of {told['images']} were opened")
    return "\n".join([*lines, str(results / NAMES[0])])


def facts(items: Sequence[Item]) -> dict[str, Any]:
    """A set in numbers: items, images, lengths, rewards, kinds and answers."""
    answers = Counter(one.value for one in items if one.reward != "open")
    judged = sum(answers.values())
    return {
        "items": len(items),
        "images": len({_key(one) for one in items}),
        "prompt": _lengths([one.prompt for one in items]),
        "response": _lengths([one.response for one in items]),
        "rewards": dict(Counter(one.reward for one in items).most_common()),
        "kinds": dict(Counter(one.kind for one in items).most_common(ANSWERS)),
        "answers": dict(answers.most_common(ANSWERS)),
        "different_answers": len(answers),
        "commonest_answer": answers.most_common(1)[0][1] / judged if judged else 0.0,
    }


def _lengths(texts: Iterable[str]) -> dict[str, list[float]]:
    """Least, median, 95th percentile and most, in words and in characters."""
    many = {"words": [len(t.split()) for t in texts], "characters": [len(t) for t in texts]}
    at = (0, 50, 95, 100)
    return {
        name: [float(n) for n in np.percentile(values, at)] if values else [0.0] * len(at)
        for name, values in many.items()
    }


def _key(one: Item) -> Key:
    return one.image, one.mask


def _opened(
    items: list[Item], data: Any
) -> tuple[dict[str, str], dict[Key, str], list[tuple[Item, np.ndarray, list[float] | None]]]:
    """What is broken (id to reason), digests of images' bytes, and samples with their pictures."""
    owners: dict[Key, list[Item]] = defaultdict(list)
    for one in items:
        owners[_key(one)].append(one)
    drawn = sorted(owners, key=lambda key: order("look", str(key)))[:MOST]
    shown_too = dict.fromkeys(drawn[:SAMPLES])
    broken: dict[str, str] = {}
    digests: dict[Key, str] = {}
    samples = []
    for key, content in contents(drawn):
        found = shown(key, content, SIDE, data.fit)
        if not isinstance(found, Shown):
            broken |= {one.id: str(found) for one in owners[key]}
            continue
        assert not isinstance(content, Flaw)
        digests[key] = sha256(content).hexdigest()
        for one in owners[key]:
            box = one.box and boxes.fitted(one.box, found.before, data.fit)
            if one.box is not None and box is None:
                broken[one.id] = "its box is cut off"
            elif key in shown_too:
                samples.append((one, found.pixels, box))
                del shown_too[key]
    return broken, digests, samples


def doubles(
    items: Sequence[Item], owner: dict[str, str], digests: dict[Key, str]
) -> dict[str, dict[str, Any]]:
    """Equal images under several names, and equal questions about equal images.

    Of each: numbers within each set and between two of them, and the first such items. An image of
    one name that is asked about several times is no double.
    """
    images: dict[str, dict[Key, Item]] = defaultdict(dict)
    asked: dict[tuple[str, str], dict[str, Item]] = defaultdict(dict)
    for one in items:
        if digest := digests.get(_key(one)):
            images[digest].setdefault(_key(one), one)
            asked[digest, one.prompt][one.id] = one
    return {
        "equal images": _tally([list(group.values()) for group in images.values()], owner),
        "equal questions": _tally([list(group.values()) for group in asked.values()], owner),
    }


def _tally(groups: Iterable[list[Item]], owner: dict[str, str]) -> dict[str, Any]:
    numbers: Counter[str] = Counter()
    listed: list[list[str]] = []
    for group in groups:
        sets = Counter(owner[one.id] for one in group)
        numbers.update({f"within {name}": n - 1 for name, n in sets.items() if n > 1})
        names = sorted(sets)
        numbers.update(f"between {a} and {b}" for i, a in enumerate(names) for b in names[i + 1 :])
        if len(group) > 1 and len(listed) < LISTED:
            listed.append([f"{one.id} ({owner[one.id]})" for one in group])
    return {"numbers": dict(numbers.most_common()), "items": listed}
