"""Items of one's own, written as the world's questions are: a table and images of each set.

Beside them lie listing.parquet, which has every row of the data (which set it is in, or why in
none), listing.json with the same in numbers, reward.json, and a reward file of one's own.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from steps.data.digest import written
from steps.data.judge.function import load
from steps.data.judge.judge import FILE, SETTINGS
from steps.data.own import boxes, listing, ready
from steps.data.own.images import Array, Key, Shown, opened
from steps.data.own.item import Item
from steps.data.own.parts import parted
from steps.data.own.read import Read, Row, read
from steps.data.own.spec import Spec, settled
from steps.stage import StageError
from steps.track import log

EVERY = 1000
"""Images between two looks at how many are broken."""
SETS = ("train", "tune", "vqa")


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Read params.data, and write train, tune and vqa as `steps.data.items` does.

    With masks there is train_maps.npy too. Returns counts. Raises StageError for data that cannot
    be read, or of which more than data.broken_share is broken.
    """
    data, spec = params.data, settled(params.data)
    ready.unchanged(data, inputs.get("data"))
    _reward(spec, data.tolerance, out)
    done = read(spec, spec.path, data.max_characters, data.limit)
    other = read(spec, spec.test_path, data.max_characters, None) if spec.test_path else Read()
    for one in other.items:
        one.id = f"test/{one.id}"
    counts = {name: getattr(params.items, name) for name in SETS}
    tested = other.items if spec.test_path else None
    parts = parted(done.items, tested, data.test_share, counts, params.run.seed or 0)
    broken: list[Row] = []
    tried = 0
    used: dict[str, str] = {}
    metrics: dict[str, float] = {}
    for name, items in parts.items():
        if not items:
            raise StageError(
                f"data.path = {spec.path}: no items are left for {name}: {len(done.items)} items "
                "have to show at least three images, or two where data.test_path is given"
            )
        kept, gone = store(items, out, name, data, params.run.threads, broken, tried)
        broken, tried = broken + gone, tried + len(items)
        used |= {one["item"]: name for one in kept}
        metrics[f"{name}/items"] = len(kept)
        metrics[f"{name}/prior"] = _prior(kept)
    listing.write(listing.rows_of(done, other, used, broken, spec.images), out)
    told = listing.summary(spec, done, other, parts, broken, used)
    (out / "listing.json").write_text(json.dumps(told, indent=1) + "\n")
    for name in SETS:
        log.dataset(name, digest=written(out, name), context=name)
    log.text(
        f"items: {done.rows + other.rows} rows, {len(used)} used, "
        f"{sum(told['left_out'].values())} left out, {len(broken)} broken"
    )
    facts = {"rows": done.rows + other.rows, "broken": len(broken)}
    facts |= {"left_out": sum(told["left_out"].values())}
    return metrics | {f"data/{name}": float(n) for name, n in facts.items()}


def _reward(spec: Spec, tolerance: float, out: Path) -> None:
    """Write reward.json, and the file of a reward of one's own, which is run once to see that it
    can be.
    """
    own = spec.file
    if own is not None:
        load(*own)
        shutil.copyfile(own[0], out / FILE)
    told = {
        "reward": list(spec.reward),
        "tolerance": tolerance,
        "function": own and own[1],
        "file": own and str(own[0]),
    }
    (out / SETTINGS).write_text(json.dumps(told, indent=1) + "\n")


def store(
    items: list[Item],
    out: Path,
    name: str,
    data: Any,
    threads: int,
    before: list[Row],
    earlier: int,
) -> tuple[list[dict[str, Any]], list[Row]]:
    """Write the table and the images of a set; returns its rows, and the items that are broken.

    An image that several items ask about is stored once. Nothing takes the place of a broken one.
    before, earlier: the broken ones and the number of items of the sets before, since the share
    of broken ones is that of all sets.
    """
    owners: dict[Key, list[Item]] = {}
    for one in items:
        owners.setdefault((one.image, one.mask), []).append(one)
    images = Array(out / f"{name}_images.npy", (data.size, data.size, 3))
    masked = name == "train" and any(one.mask for one in items)
    maps = Array(out / f"{name}_maps.npy", (data.size, data.size)) if masked else None
    where: dict[str, dict[str, Any]] = {}
    broken: list[Row] = []
    for done, (key, shown) in enumerate(opened(owners, data.size, data.fit, threads), 1):
        if isinstance(shown, Shown):
            at = images.add(shown.pixels)
            if maps is not None and shown.mask is not None:
                maps.add(shown.mask)
            for one in owners[key]:
                if (row := _row(one, at, shown, data)) is None:
                    broken.append(Row(one.id, one.file, one.row, "its box is cut off"))
                else:
                    where[one.id] = row
        else:
            broken += [Row(one.id, one.file, one.row, str(shown)) for one in owners[key]]
        if done % EVERY == 0 or done == len(owners):
            tried = earlier + round(done / len(owners) * len(items))
            _enough(before + broken, tried, data)
    images.close()
    if maps is not None:
        maps.close()
    rows = [where[one.id] for one in items if one.id in where]
    if not rows:
        raise StageError(
            f"data.path = {data.path}: no image of {name} can be read ({_few(broken)})"
        )
    _table(rows, out / f"{name}.parquet")
    return rows, broken


def _row(one: Item, at: int, shown: Shown, data: Any) -> dict[str, Any] | None:
    """A row of a table, None where its box is not to be seen any more."""
    framed, value, response = [], one.value, one.response
    if one.box is not None:
        box = boxes.fitted(one.box, shown.before, data.fit)
        if box is None:
            return None
        framed = [[round(n * data.size) for n in box]]
        if one.reward == "iou":
            value = "[{:.3f}, {:.3f}, {:.3f}, {:.3f}]".format(*box)
        if response.startswith("[{:"):
            response = "[{:.3f}, {:.3f}, {:.3f}, {:.3f}]".format(*box)
    elif shown.mask is not None:
        framed = boxes.around(shown.mask)
    row = {
        "item": one.id,
        "image": at,
        "scene": at,
        "kind": one.kind,
        "form": "own",
        "style": "own",
        "prompt": one.prompt,
        "response": response,
        "value": value,
        "choices": one.choices,
        "depends": [],  # which of its words need the image is not known
        "novel": False,
        "boxes": framed,
        "reward": one.reward,
    }
    if one.rejected is not None:
        row |= {"chosen": response, "rejected": one.rejected}
    return row


def _enough(broken: list[Row], tried: int, data: Any) -> None:
    if len(broken) > data.broken_share * tried:
        raise StageError(
            f"data.path = {data.path}: {len(broken)} of {tried} items are broken, more than "
            f"data.broken_share = {data.broken_share:g} allows ({_few(broken)}): mend them, or "
            "raise it"
        )


def _few(broken: Iterable[Row]) -> str:
    """How often each reason was met, and the first three items."""
    rows = list(broken)
    told = ", ".join(f"{n} {why}" for why, n in Counter(r.reason for r in rows).most_common())
    return f"{told}; first {', '.join(row.id for row in rows[:3])}"


def _prior(rows: list[dict[str, Any]]) -> float:
    """Accuracy of saying each kind's most frequent answer: what one can know without looking."""
    kinds: dict[str, Counter] = {}
    for row in rows:
        kinds.setdefault(row["kind"], Counter())[row["value"]] += 1
    return sum(c.most_common(1)[0][1] for c in kinds.values()) / len(rows)


def _table(rows: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lists = {"choices": pa.string(), "depends": pa.int64(), "boxes": pa.list_(pa.int64())}
    numbers = {"image": pa.int64(), "scene": pa.int64(), "novel": pa.bool_()}
    kinds = {
        key: pa.list_(lists[key]) if key in lists else numbers.get(key, pa.string())
        for key in rows[0]
    }
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(kinds)), path)
