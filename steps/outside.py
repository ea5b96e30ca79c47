"""Weights that were trained elsewhere: which files an arm takes, and a digest of what is in them.

Neither engine looks outside the repository, so what is found there is written down as the file
`results/<study>/weights/<arm>/seed<k>.json`, and that is what the stage `checkpoint` depends on:
changed weights run it again. Every start of an engine comes here, so a file is read anew only
where its size or time changed. Nothing heavy is imported.
"""

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from steps.manifest import digest

READ = (".safetensors", ".json", ".jinja", ".model", ".txt")
"""How names end of files that are read; optimiser states and the like beside them are not."""
HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
"""A name on the hub; a folder of that name comes first."""


def place(path: str, seed: int | None) -> str:
    """The path of one seed's weights: `{seed}` in it stands for the seed."""
    return path.replace("{seed}", str(seed or 0))


def files(folder: Path) -> dict[str, Path]:
    """The files of a folder that are read, by name, sorted; none of folders inside it."""
    return {p.name: p for p in sorted(folder.iterdir()) if p.is_file() and p.suffix in READ}


def told(path: str, revision: str | None, known: Path | None = None) -> dict[str, Any]:
    """Where weights are, and what is in them: path, revision, sha256 (None for a hub's name).

    known: a file that keeps each file's hash with its size and time, read and written here.
    """
    found: dict[str, Any] = {"path": path, "revision": revision, "sha256": None}
    if (folder := Path(path)).is_dir():
        mine = hashes(files(folder), known)
        found["sha256"] = sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()
    return found


def hashes(named: dict[str, Path], known: Path | None = None) -> dict[str, str]:
    """The SHA-256 of each file, by its name; read anew only where `known` tells another state."""
    old = _remembered(known)
    new = {}
    for name, file in named.items():
        state = file.stat()
        mark = [state.st_size, state.st_mtime_ns]
        kept = old.get(name, [])
        new[name] = kept if kept[:2] == mark else [*mark, digest(file)]
    if known is not None and new != old:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(new))
    return {name: row[2] for name, row in new.items()}


def text(found: dict[str, Any]) -> str:
    """What `told` found, as the file that the stage depends on."""
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def _remembered(known: Path | None) -> dict[str, list[Any]]:
    try:
        return json.loads(known.read_text()) if known else {}
    except (OSError, ValueError):  # none yet, or torn by a kill: files are read anew
        return {}
