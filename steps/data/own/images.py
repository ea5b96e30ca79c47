"""Images of a data set as squares in one array on disk, a few of them in memory at a time."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from steps.data.own.columns import found
from steps.data.own.source import Stored
from steps.data.readers.pictures import Fit, Flaw, decode, read, rgb, square

CHUNK = 64
"""Images in memory at once."""
LEAST = 4
"""Fewest pixels of a side: of less there is nothing to see."""
OTHER = 255
"""In a mask: everything else, or in a mask of two values the object."""


class Shown(NamedTuple):
    """An image as it is stored, uint8 [size, size, 3], its mask or None, and its size before."""

    pixels: np.ndarray
    mask: np.ndarray | None
    before: tuple[int, int]


Key = tuple[Path | Stored, Path | None]
"""Where an image and its mask are."""


def opened(
    keys: Iterable[Key], size: int, fit: Fit, threads: int
) -> Iterator[tuple[Key, Shown | Flaw]]:
    """Each image opened, or what is wrong with it; files by name, Parquet in its own order."""
    paths, stored = _sorted(keys)
    with ThreadPoolExecutor(threads) as pool:  # Pillow lets others work while it decodes
        many = pool.map if threads > 1 else map
        everything = iter((key, None) for key in paths)
        for start in (everything, _bytes(stored)):
            while some := list(islice(start, CHUNK)):
                yield from many(lambda one: (one[0], shown(*one, size, fit)), some)


def contents(keys: Iterable[Key]) -> Iterator[tuple[Key, bytes | Flaw]]:
    """The bytes of each image, or why there are none; in the order of `opened`."""
    paths, stored = _sorted(keys)
    for key in paths:
        try:
            assert isinstance(key[0], Path)
            yield key, read(key[0])
        except Flaw as flaw:
            yield key, flaw
    yield from _bytes(stored)


def _sorted(keys: Iterable[Key]) -> tuple[list[Key], list[Key]]:
    every = set(keys)
    paths = sorted((k for k in every if isinstance(k[0], Path)), key=str)
    stored = [k for k in every if isinstance(k[0], Stored)]
    return paths, sorted(stored, key=lambda k: (*k[0][:3], str(k)))  # type: ignore[index]


def shown(key: Key, data: bytes | Flaw | None, size: int, fit: Fit) -> Shown | Flaw:
    """One image as it is stored, or what is wrong; data: its bytes, where they were read."""
    try:
        if isinstance(data, Flaw):
            raise data
        image = decode(read(key[0]) if data is None and isinstance(key[0], Path) else data or b"")
        if min(image.size) < LEAST:
            raise Flaw("too small ({} x {} pixels)".format(*image.size))
        mask = None if key[1] is None else _mask(key[1], image.size, size, fit)
        return Shown(square(rgb(image), size, fit), mask, image.size)
    except Flaw as flaw:
        return flaw


def _mask(path: Path, wanted: tuple[int, int], size: int, fit: Fit) -> np.ndarray:
    """A mask as uint8 [size, size]: 0 the ground, from 1 classes; of 0 and 255 alone, 0 and 1."""
    try:
        mask = decode(read(path))
    except Flaw as flaw:
        raise Flaw(f"mask {flaw}") from flaw
    if mask.mode not in ("1", "L", "P"):
        raise Flaw(f"mask of mode {mask.mode}, whose colours name no classes")
    if mask.size != wanted:
        raise Flaw("mask and image differ in size")
    index = np.array(mask).astype(np.uint8)
    index[index == OTHER] = int(index.max() == OTHER and not ((index > 0) & (index < OTHER)).any())
    return square(Image.fromarray(index), size, fit, nearest=True)


def _bytes(keys: list[Key]) -> Iterator[tuple[Key, bytes | Flaw]]:
    """The bytes of images in Parquet files, file by file, of a few rows at a time."""
    import pyarrow as pa

    from steps.data.readers.parquet import BATCH
    from steps.data.readers.parquet import opened as parquet

    groups: dict[tuple[Path, int], dict[int, list[Key]]] = {}
    for key in keys:
        assert isinstance(key[0], Stored)
        groups.setdefault(key[0][:2], {}).setdefault(key[0].row, []).append(key)
    for (path, group), wanted in sorted(groups.items()):
        try:
            with parquet(path) as file:
                start, last = 0, max(wanted)
                root = next(iter(wanted.values()))[0][0].column.split(".")[0]  # type: ignore
                for part in file.iter_batches(BATCH, [group], columns=[root], use_threads=False):
                    for row in range(start, start + len(part)):
                        for key in wanted.pop(row, ()):
                            yield key, _held({root: part.column(0)[row - start].as_py()}, key)
                    start += len(part)
                    if start > last:
                        break
        except (pa.ArrowException, OSError):
            pass  # told below, for every row that did not come
        for key in (key for rows in wanted.values() for key in rows):
            yield key, Flaw("its row group cannot be read")


def _held(record: dict[str, Any], key: Key) -> bytes | Flaw:
    assert isinstance(key[0], Stored)
    told = found(record, key[0].column)
    data = told.get("bytes") if isinstance(told, dict) else told
    return data if isinstance(data, bytes) else Flaw("missing: the table holds no bytes for it")


class Array:
    """A .npy file of uint8 that grows row by row: what was written is in memory no longer."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        """shape: of one row."""
        self.path, self.shape, self.rows = path, shape, 0
        self.file = path.open("wb")
        self._header()

    def add(self, row: np.ndarray) -> int:
        """Write a row; returns its number."""
        assert row.shape == self.shape and row.dtype == np.uint8
        self.file.write(np.ascontiguousarray(row).data)
        self.rows += 1
        return self.rows - 1

    def close(self) -> None:
        """Say in the header how many rows there are; numpy leaves room for that number there."""
        end = self.file.tell()
        self.file.seek(0)
        self._header()
        assert self.file.tell() + self.rows * int(np.prod(self.shape)) == end
        self.file.close()

    def _header(self) -> None:
        told = {"descr": "|u1", "fortran_order": False, "shape": (self.rows, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, told)
