"""Rows of JSON, JSON lines and Parquet files, one by one, without their images.

No file is held whole: JSON is parsed item by item, Parquet read in small batches, and of a Parquet
column of images only the paths.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from steps.data.own.columns import roots
from steps.stage import Missing, StageError

ENDS = {
    "llava": (".json",),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "parquet": (".parquet",),
    "auto": (".json", ".jsonl", ".ndjson", ".parquet"),
}
"""What files of each format are called."""
SIDE = {"meta.json", "dataset_info.json", "dataset_infos.json", "state.json"}
"""JSON files that lie beside data and hold none."""
BATCH = 64
"""Rows of a Parquet file that are held at a time."""
CHUNK = 2**20
"""Characters of a JSON file that are read at a time."""
_SPACE = re.compile(r"[\s,]*")


class Stored(NamedTuple):
    """An image in a Parquet file: row group, row in it, and the column's path."""

    file: Path
    group: int
    row: int
    column: str


def files(path: Path, how: str) -> list[Path]:
    """The files of a format at a path (one file, or a folder with some below it), in order.

    Raises Missing where nothing is there, StageError where there is nothing of this format.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise Missing(f"{path}: there is no such file or folder: give where the data is")
    found = [p for p in path.rglob("*") if p.suffix.lower() in ENDS[how] and p.is_file()]
    found = [p for p in found if p.name not in SIDE and not _hidden(p, path)]
    if not found:
        raise StageError(
            f"{path}: the folder holds no {' or '.join(ENDS[how])} file: give the file "
            "itself, or another data.format"
        )
    if len(kinds := sorted({p.suffix.lower() for p in found})) > 1 and ".parquet" in kinds:
        raise StageError(
            f"{path}: the folder holds {' and '.join(kinds)} files: say in data.format "
            "which of them are read"
        )
    return sorted(found)


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def rows(file: Path, how: str, columns: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each row of a file; lines count from 1, all else from 0.

    how: as `data.format`. columns: our names to theirs, of which only theirs are read from
    Parquet; an image's bytes there are a `Stored`. Raises StageError for what is no such file.
    """
    if file.suffix.lower() == ".parquet":
        if how not in ("auto", "parquet"):
            raise StageError(f"{file} is Parquet and data.format = {how!r}: give parquet or auto")
        yield from _parquet(file, columns)
        return
    if how == "parquet":
        raise StageError(f"{file} is no Parquet file: give data.format = auto, llava or jsonl")
    try:
        listed = how == "llava" or (how == "auto" and _start(file) == "[")
        yield from _listed(file) if listed else _lines(file)
    except UnicodeDecodeError as error:
        raise StageError(f"{file} is not text in UTF-8 ({error.reason}): fetch it again") from None


def _start(file: Path) -> str:
    with file.open(encoding="utf-8-sig") as text:
        return text.read(CHUNK).lstrip()[:1]


def _listed(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The items of a file that is one JSON list."""
    decode, number = json.JSONDecoder().raw_decode, 0
    with file.open(encoding="utf-8-sig") as source:
        text = source.read(CHUNK).lstrip()
        if not text.startswith("["):
            raise StageError(
                f"{file} is no JSON list, as LLaVA's files are: give data.format = jsonl, or auto"
            )
        at = 1
        while True:
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
            if at < len(text) and text[at] == "]":
                return
            try:
                item, end = decode(text, at)
            except json.JSONDecodeError as error:
                more = source.read(max(CHUNK, len(text) - at))
                if not more:
                    cut = error.pos >= len(text) - 1 or "Unterminated" in error.msg
                    what = "is cut off" if cut else f"is not JSON ({error.msg})"
                    raise StageError(
                        f"{file}: item {number} of the list {what}: fetch or write the file again"
                    ) from None
                text, at = text[at:] + more, 0
                continue
            yield number, _object(item, f"{file}, item {number}")
            number, at = number + 1, end


def _lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file that has one on each line."""
    with file.open(encoding="utf-8-sig") as source:
        for number, line in enumerate(source, 1):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
            except json.JSONDecodeError as error:
                cut = not line.endswith("\n") or "Unterminated" in error.msg
                what = "is cut off" if cut else f"is not JSON ({error.msg})"
                raise StageError(
                    f"{file}, line {number} {what}: mend or remove the line, or fetch the file "
                    "again" + (" (a JSON list needs data.format = llava)" if number == 1 else "")
                ) from None
            yield number, _object(item, f"{file}, line {number}")


def _object(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise StageError(
            f"{where} is a {type(item).__name__}: each item has to be an object with named values"
        )
    return item


def _parquet(file: Path, columns: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    from steps.data.readers.parquet import opened

    number, image = 0, str(columns.get("image", ""))
    with opened(file) as source:
        told = [t for t in columns.values() if isinstance(t, str)]
        known = source.schema_arrow.names
        wanted = dict.fromkeys(root for text in told for root in roots(text) if root in known)
        held = _held(source.schema_arrow, image)
        # Of images only what is not their bytes; a column of nothing but bytes is not read at all.
        light = [c for c in wanted if c != image.split(".")[0]] if held else list(wanted)
        light += [held] if held and held != "bytes" else []
        for group in range(source.num_row_groups):
            size, row = source.metadata.row_group(group).num_rows, 0
            parts = source.iter_batches(BATCH, [group], columns=light, use_threads=False)
            filled = (item for part in parts for item in part.to_pylist()) if light else [{}] * size
            for item in filled:
                if held:
                    item = item | _place(item, image, Stored(file, group, row, image))
                yield number, item
                number, row = number + 1, row + 1


def _held(schema: Any, image: str) -> str:
    """Of a column that holds images' bytes: what of it can be read without them, else ''."""
    import pyarrow as pa

    root = image.split(".")[0]
    if root not in schema.names:
        return ""
    kind, path = schema.field(root).type, root
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        path, kind = f"{root}.list.element", kind.value_type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "bytes"
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{path}.path" if kind.get_field_index("path") >= 0 else "bytes"
    return ""


def _place(item: dict[str, Any], image: str, stored: Stored) -> dict[str, Any]:
    """The column of images with the place of the bytes in the stead of each image."""
    root = image.split(".")[0]
    now = item.get(root, stored)
    if isinstance(now, list):
        return {root: [stored._replace(column=f"{root}.{k}") for k in range(len(now))]}
    return {root: now and stored}
