"""Images with one label each, in Parquet files as Hugging Face writes them.

Read as plain columns by pyarrow: no loading script runs, no extension type is made.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from steps.data.readers.classes import TESTED, same
from steps.data.readers.listing import Item, Listing, Opened
from steps.data.readers.pictures import Broken, Fit, Flaw, picture
from steps.stage import Missing, StageError

BATCH = 64
"""Most rows of a file that are held at once, image bytes and all."""


def parquet(root: Path, image: str = "image", label: str = "label") -> Listing:
    """Parquet files as Hugging Face writes image sets: `data/train-00000-of-00294.parquet`, ...

    image, label: names of the columns: a struct of `bytes` and `path`, and a whole number whose
    names stand in the file's metadata (the key `huggingface`, features of type ClassLabel); else
    the number is the name. Only labels are read here; images later, `BATCH` rows at a time. The
    test split is `validation`, `val` or `test`, the first that is there. A file that the others'
    `-of-<n>` speaks of and that is not there is listed as absent. Raises StageError for a file
    that is no Parquet or has no labels.
    """
    root = Path(root)
    folder = root / "data" if (root / "data").is_dir() else root
    files = {name: sorted(folder.glob(f"{name}-*.parquet")) for name in ("train", *TESTED)}
    tested = next((name for name in TESTED if files[name]), None)
    if not files["train"] or tested is None:
        raise Missing(
            f"{folder} needs train-*.parquet and one of {', '.join(TESTED)}-*.parquet: give the "
            "folder that holds `data`, or the layout that these files have"
        )
    parts = {"train": files["train"], "test": files[tested]}
    items = {
        part: [item for path in paths for item in _rows(path, root, image, label)]
        for part, paths in parts.items()
    }
    absent = [b for paths in parts.values() for b in _absent(paths, root)]
    opener = partial(_open_rows, column=image)
    return Listing(root, "classify", items, opener, same(root, items), tuple(absent))


def opened(path: Path) -> Any:
    """A Parquet file, read as it is asked for. Raises StageError if it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise StageError(
            f"{path} cannot be read as Parquet ({path.stat().st_size} bytes): fetch it again"
        ) from error


def _rows(path: Path, root: Path, image: str, label: str) -> Iterator[Item]:
    """An item for each row of a file, from its column of labels alone."""
    import pyarrow as pa

    with opened(path) as file:
        columns = file.schema_arrow.names
        if image not in columns or label not in columns:
            raise StageError(
                f"{path} has the columns {columns}: {image!r} (bytes, path) and {label!r} are read"
            )
        kind = file.schema_arrow.field(image).type
        if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
            raise StageError(f"{path}: the column {image!r} is {kind}, not a struct with bytes")
        names, where = _names(file.schema_arrow, label), path.relative_to(root).as_posix()
        for group in range(file.num_row_groups):
            told = file.read_row_group(group, columns=[label]).column(label).to_pylist()
            for row, value in enumerate(told):
                if value is None or (names and not 0 <= value < len(names)) or value == -1:
                    raise StageError(
                        f"{path}, row {row} of row group {group}: the label is {value}"
                        + (f", and {len(names)} classes are named" if names else "")
                        + ": leave out the files of a split without labels"
                    )
                name = names[value] if names else str(value)
                yield Item(f"{where}:{group}:{row}", name, path, None, group, row)


def _names(schema: Any, label: str) -> list[str]:
    """Names of the labels 0, 1, ... from the file's metadata; empty where it tells none.

    A name that several labels bear gets their number behind it, or they would be one class.
    """
    import pyarrow as pa

    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]
        names = [str(name) for name in told["names"]]
    except (KeyError, TypeError, ValueError):
        return []
    if not pa.types.is_integer(schema.field(label).type):
        return []
    return [f"{n} ({i})" if names.count(n) > 1 else n for i, n in enumerate(names)]


def _absent(paths: list[Path], root: Path) -> list[Broken]:
    """Files that the names of those that are there speak of: 00000 to <n>-1 of <n>."""
    told = [re.fullmatch(r"(.+)-(\d+)-of-(\d+).*", path.stem) for path in paths]
    numbered = [m for m in told if m]
    there = {int(m[2]) for m in numbered}
    where = paths[0].parent.relative_to(root)
    return [
        Broken((where / f"{m[1]}-{k:05d}-of-{m[3]}.parquet").as_posix(), "missing")
        for m in numbered[:1]
        for k in range(min(int(m[3]), 100_000))
        if k not in there
    ]


def _open_rows(
    items: list[Item], size: int, fit: Fit, column: str
) -> Iterator[tuple[Item, Opened | Broken]]:
    """Each item opened, file by file and row group by row group, each read once."""
    import pyarrow as pa

    groups: dict[tuple[Path, int], dict[int, Item]] = {}
    for item in items:
        groups.setdefault((item.path, item.group), {})[item.row] = item
    for (path, group), wanted in sorted(groups.items()):
        try:
            with opened(path) as file:
                for row, data in _bytes(file, group, column, set(wanted)):
                    yield (item := wanted.pop(row)), _opened(item, data, size, fit)
        except (pa.ArrowException, OSError):
            pass  # told below, for every row that did not come
        for item in wanted.values():
            yield item, Broken(item.name, "its row group cannot be read")


def _opened(item: Item, data: bytes | None, size: int, fit: Fit) -> Opened | Broken:
    try:
        if data is None:
            raise Flaw("missing: the table holds no bytes for it")
        return (picture(data, size, fit),)
    except Flaw as flaw:
        return Broken(item.name, str(flaw))


def _bytes(
    file: Any, group: int, column: str, rows: set[int]
) -> Iterator[tuple[int, bytes | None]]:
    """The bytes of the wanted rows of a row group, of which `BATCH` rows are held at a time."""
    start = 0
    parts = file.iter_batches(BATCH, [group], columns=[f"{column}.bytes"], use_threads=False)
    for part in parts:
        here = part.column(0).field("bytes")
        for row in range(start, start + len(part)):
            if row in rows:
                yield row, here[row - start].as_py()
        start += len(part)
        if start > max(rows):
            return
