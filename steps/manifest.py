"""What a finished folder says of itself, and the check that it still says the truth.

`manifest.json` is written last: a folder without one is not finished. Neither engine looks into
what it hands on, so every reader checks the manifest of what it reads.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

NAME = "manifest.json"
FULL_BELOW = 1 << 30
"""Files up to this many bytes are hashed at every check; larger ones only by `verify`."""
_ENGINES_OWN = {NAME, ".snakemake_timestamp", ".gitignore"}


class Damaged(Exception):
    """A folder that is not what its manifest says, or has none; the text is one sentence."""


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listing(folder: Path) -> dict[str, Path]:
    """The files of a folder by relative name, sorted, without the manifest and engines' marks."""
    found = (p for p in folder.rglob("*") if p.is_file() and p.name not in _ENGINES_OWN)
    return {p.relative_to(folder).as_posix(): p for p in sorted(found)}


def write(folder: Path, facts: dict[str, Any]) -> None:
    """Hash and fsync every file, then write the manifest: `facts`, and sizes and hashes."""
    files = {}
    for name, path in listing(folder).items():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[name] = {"size": path.stat().st_size, "sha256": digest(path)}
    path = folder / NAME
    with path.open("w") as file:
        json.dump({**facts, "files": files}, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> dict[str, Any]:
    """A folder's manifest. Raises Damaged where there is none or it cannot be read."""
    try:
        return json.loads((folder / NAME).read_bytes())
    except FileNotFoundError:
        raise Damaged(
            f"{folder} has no {NAME}, so it is not finished: run the stage that makes it"
        ) from None
    except (ValueError, OSError) as error:
        raise Damaged(f"{folder / NAME} cannot be read ({error}): remove {folder}") from None


def check(folder: Path, full: bool = False) -> str:
    """Compare a folder with its manifest and return the manifest's hash.

    A folder that is not itself a result but holds some (`results/embedded/vqa`) is checked
    result by result. `full` hashes files of any size. Raises Damaged with one sentence.
    """
    if not (folder / NAME).is_file():
        inner = sorted(p.parent for p in folder.rglob(NAME) if not hidden(p, folder))
        if inner:
            hashes = {p.relative_to(folder).as_posix(): check(p, full) for p in inner}
            return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
    recorded = read(folder)["files"]
    present = listing(folder)
    for name, facts in recorded.items():
        path = present.pop(name, None)
        if path is None:
            raise Damaged(f"{folder / name} is missing: {_remedy(folder)}")
        size = path.stat().st_size
        if size != facts["size"]:
            raise Damaged(
                f"{path} holds {size} bytes where its manifest says {facts['size']}: "
                f"{_remedy(folder)}"
            )
        if (full or size <= FULL_BELOW) and digest(path) != facts["sha256"]:
            raise Damaged(f"{path} is not what its manifest says: {_remedy(folder)}")
    if present:
        raise Damaged(f"{next(iter(present.values()))} is not in its manifest: {_remedy(folder)}")
    return digest(folder / NAME)


def hidden(path: Path, root: Path) -> bool:
    """Whether any part of `path` below `root` begins with a dot (half-made or private)."""
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _remedy(folder: Path) -> str:
    return f"remove {folder} and run the study again"


def plain(path: Path) -> str:
    """The hash of a file, or of a folder without a manifest (one that no stage made).

    No manifest says how large its weights should be, but their own header does: raises Damaged
    where a safetensors file is cut short.
    """
    if path.is_file():
        return digest(path)
    for weights in sorted(path.rglob("*.safetensors")):
        _whole(weights)
    hashes = {name: digest(file) for name, file in listing(path).items()}
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def _whole(weights: Path) -> None:
    """Raise Damaged unless a safetensors file is as long as its header says.

    The format: eight bytes with the header's length, the header in JSON, the numbers.
    """
    size = weights.stat().st_size
    try:
        with weights.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(start - 8)) if start <= size else None
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        wanted = start + max(entry["data_offsets"][1] for entry in tensors)
    except (ValueError, AttributeError, KeyError, TypeError):
        raise Damaged(f"{weights} has no whole header: put the weights in place again") from None
    if size != wanted:
        raise Damaged(
            f"{weights} holds {size} bytes where its header says {wanted}: "
            "put the weights in place again"
        )
