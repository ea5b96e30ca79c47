"""What became of every row of the data: one list of items, which all arms share."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from steps.data.own.item import Item
from steps.data.own.read import Read, Row
from steps.data.own.spec import Spec

LISTED = 1000
"""Most broken items that listing.json tells one by one; listing.parquet has all."""


def rows_of(
    done: Read, other: Read, used: dict[str, str], broken: list[Row], images: Path
) -> list[dict[str, Any]]:
    """Every row of the data: id, set, file, row, image, reason ('' where it is used)."""
    why = {row.id: row.reason for row in broken}
    found = []
    for part in (done, other):
        for one in part.items:
            told = "" if one.id in used else why.get(one.id, "not drawn")
            image = one.image if isinstance(one.image, Path) else Path(one.file)
            image = os.path.relpath(image, images) if image.is_relative_to(images) else str(image)
            found.append((one.id, used.get(one.id, ""), one.file, one.row, image, told))
        found += [(r.id, "", r.file, r.row, "", r.reason) for r in part.left]
    names = ("item", "set", "file", "row", "image", "reason")
    return [dict(zip(names, row, strict=True)) for row in found]


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Write listing.parquet into `out`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), out / "listing.parquet")


def summary(
    spec: Spec,
    done: Read,
    other: Read,
    parts: dict[str, list[Item]],
    broken: list[Row],
    used: dict[str, str],
) -> dict[str, Any]:
    """What became of all rows, in numbers: the content of listing.json."""
    left = Counter(done.reasons) + Counter(other.reasons)
    total = sum(len(part.items) for part in (done, other))
    if spare := total - sum(map(len, parts.values())):
        left["not drawn"] = spare
    return {
        "path": str(spec.path),
        "test_path": spec.test_path and str(spec.test_path),
        "columns": spec.columns,
        "reward": list(spec.reward),
        "rows": done.rows + other.rows,
        "used": dict(Counter(used.values())),
        "left_out": dict(left.most_common()),
        "later_turns_left_out": done.turns + other.turns,
        "broken": len(broken),
        "reasons": dict(Counter(row.reason for row in broken).most_common()),
        "items": [row._asdict() for row in broken[:LISTED]],
    }
