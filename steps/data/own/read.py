"""All rows of a data set, each as an item or with the reason why it is none; nothing is opened."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from steps.data.own import columns, source
from steps.data.own.item import Item, Left, item, turns
from steps.data.own.spec import Spec
from steps.stage import Missing, StageError

PATIENCE = 1000
"""Rows within which each column has to be met once."""


class Row(NamedTuple):
    """A row that is not used: reason in words."""

    id: str
    file: str
    row: int
    reason: str


@dataclass
class Read:
    """What was read: items in the order of the files, the rows that are none, later turns."""

    items: list[Item] = field(default_factory=list)
    left: list[Row] = field(default_factory=list)
    rows: int = 0
    turns: int = 0

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows were left out, by reason."""
        return dict(Counter(row.reason for row in self.left).most_common())


def read(spec: Spec, path: Path, most: int, limit: int | None) -> Read:
    """The items at a path. At most `limit` of them, by `order`; the others count as left out.

    most: characters of an item. Raises StageError for files that are not what they should be, for
    a column that no row has, for an id that two different items bear, and where no item is left.
    """
    done, known, kept = Read(), {}, []
    for file, images in _folders(spec, path):
        place = file.name if path.is_file() else file.relative_to(path).as_posix()
        met = _Met(spec, file)
        for number, record in source.rows(file, spec.format, spec.columns):
            met.look(record)
            done.rows += 1
            try:
                one = item(record, spec, (place, number), images, most)
                _once(one, known)
            except Left as left:
                done.left.append(Row("", place, number, str(left)))
                continue
            done.turns += turns(record, spec)
            kept.append(one)
            if limit is not None and len(kept) > 2 * limit + PATIENCE:
                kept = _cut(kept, limit, done)
        met.close()
    done.items = _cut(kept, limit, done) if limit is not None else kept
    if not done.items:
        told = ", ".join(f"{n} {reason}" for reason, n in done.reasons.items()) or "no rows"
        raise StageError(
            f"{path}: no items are left of {done.rows} rows ({told}): look at data.columns and "
            "data.reward"
        )
    return done


def order(use: str, name: str) -> bytes:
    """A place in a random order that is the same on every machine and moved by no other item."""
    return sha256(f"{use}/{name}".encode()).digest()


def _cut(items: list[Item], limit: int, done: Read) -> list[Item]:
    ranked = sorted(range(len(items)), key=lambda i: order("limit", items[i].id))
    for i in sorted(ranked[limit:]):
        one = items[i]
        done.left.append(Row(one.id, one.file, one.row, "beyond data.limit"))
    return [items[i] for i in sorted(ranked[:limit])]


def _once(one: Item, known: dict[str, tuple[bytes, str, int]]) -> None:
    """Refuse an id that two items bear; the same item twice is left out once."""
    told = repr((one.image, one.prompt, one.response, one.rejected)).encode()
    content = sha256(told).digest()[:16]
    first = known.setdefault(one.id, (content, one.file, one.row))
    if first[1:] == (one.file, one.row):
        return
    if first[0] == content:
        raise Left("the same item again")
    raise StageError(
        f"{one.file}, row {one.row}: the id {one.id!r} is also that of row {first[2]} of "
        f"{first[1]}, which asks something else: give each its own, or leave data.columns.id out"
    )


def _folders(spec: Spec, path: Path) -> Iterator[tuple[Path, Path]]:
    """Each file at a path, and the folder that the paths of its images start from."""
    known: dict[str, str] = {}
    table = path / spec.roots if spec.roots and path.is_dir() else None
    if table is not None and table.is_file():
        try:
            told = json.loads(table.read_text())
            known = {Path(one["annotation"]).name: one["root"] for one in told.values()}
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise StageError(
                f"{table} does not name a root and an annotation for each of its entries "
                f"({error}): fetch it again"
            ) from None
    for file in source.files(path, spec.format):
        yield file, _root(spec.images, known.get(file.name, ""))


def _root(images: Path, told: str) -> Path:
    """A folder that a table names, found below `images` by as much of its path as is there."""
    parts = Path(told).parts
    for start in range(len(parts)):
        if (folder := images.joinpath(*parts[start:])).is_dir():
            return folder
    return images


class _Met:
    """Which columns were met in a file."""

    def __init__(self, spec: Spec, file: Path) -> None:
        self.file, self.first, self.seen = file, None, 0
        self.open = {n: t for n, t in spec.columns.items() if isinstance(t, str)}

    def look(self, record: dict[str, Any]) -> None:
        self.first = self.first or record
        self.seen += 1
        if not self.open:
            return
        for name, told in list(self.open.items()):
            if columns.value(record, told) is not columns.ABSENT:
                del self.open[name]
        if self.seen == PATIENCE:
            self.close()

    def close(self) -> None:
        """Raise StageError where there were rows, and a column in none of them."""
        if self.open and self.first is not None:
            name, told = next(iter(self.open.items()))
            plain = {
                k: str(v) if isinstance(v, source.Stored) else v for k, v in self.first.items()
            }
            raise Missing(
                f"data.columns.{name} = {told!r}: no row of {self.file} has it; there are "
                f"{columns.those(plain)}: name one of these"
            )
