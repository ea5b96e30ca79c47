"""Whether a study's own data is there, and what tells it from other data; nothing heavy imported.

Neither engine looks outside the repository, so what is found is written down as the file
`results/<study>/data.json`, which is what the stage `items` depends on.
"""

import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from steps.data.judge.function import named
from steps.data.own.source import files
from steps.data.own.spec import Spec, settled
from steps.stage import StageError

WHOLE = 2**26
"""Files up to this many bytes are read whole; of larger ones the size and both ends tell."""
END = 2**20


def missing(data: Any) -> Iterator[str]:
    """One sentence for each thing that the section `data` names and that is not there."""
    if data.source != "files":
        return
    spec = settled(data)
    for key, path in (("data.path", spec.path), ("data.test_path", spec.test_path)):
        if path is not None and not path.exists():
            yield f"{key} = {str(path)!r}: there is no such file or folder: give where the data is"
    if data.images and not spec.images.is_dir():
        yield (
            f"data.images = {data.images!r}: there is no such folder: give the one that the data's "
            "paths of images start from"
        )
    if spec.file is not None:
        try:
            named(*spec.file)
        except StageError as error:
            yield str(error)


def told(data: Any) -> dict[str, Any]:
    """Digests of the data's files, of a reward file, and of the names of images.

    Of images only names count, since there are many and this is asked at every start: after an
    image was replaced by another of its name, remove the result of `items`. Raises StageError for
    a path without data.
    """
    spec = settled(data)
    found: dict[str, Any] = {"data": _digests(spec.path, spec)}
    if spec.test_path is not None:
        found["test"] = _digests(spec.test_path, spec)
    if spec.file is not None:
        found["reward"] = _digest(spec.file[0])
    if data.images:
        found["images"] = _names(spec.images)
    return found


def text(data: Any) -> str:
    """What is `told`, as the text of data.json."""
    return json.dumps(told(data), indent=1) + "\n"


def unchanged(data: Any, noted: Path | None) -> None:
    """Raise StageError if the data is not what the input `data` tells of."""
    if noted is not None and noted.read_text() != text(data):
        raise StageError(
            f"the data in {data.path} is not what {noted} tells of: run the study again"
        )


def _digests(path: Path, spec: Spec) -> dict[str, str]:
    root = path if path.is_dir() else path.parent
    every = files(path, spec.format)
    if spec.roots and (table := root / spec.roots).is_file():
        every = [*every, table]
    return {file.relative_to(root).as_posix(): _digest(file) for file in every}


def _digest(path: Path) -> str:
    total, size = sha256(), path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE:
            total.update(file.read())
        else:
            total.update(file.read(END) + str(size).encode())
            file.seek(-END, os.SEEK_END)
            total.update(file.read())
    return total.hexdigest()


def _names(root: Path) -> dict[str, Any]:
    total, count = sha256(), 0
    for place, below, names in os.walk(root):
        below.sort()
        total.update(f"{Path(place).relative_to(root).as_posix()}\0".encode())
        total.update("\0".join(sorted(names)).encode())
        count += len(names)
    return {"files": count, "sha256": total.hexdigest()}
