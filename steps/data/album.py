"""Which images from outside a study shows: their folders, and a digest of what is in them.

Neither engine looks outside the repository, so what is found here is written down as the file
`results/<study>/photos.json`, and that is what the stage `probes` depends on: other photographs,
or the first ones, run it again. Nothing heavy is imported: every start of an engine comes here.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from steps.stage import StageError

STAMPS = Path("/usr/share/tuxpaint/stamps")
FEWEST = 10
"""A folder with fewer photographs is left out: its test would rest on one or two."""


def album(where: str) -> dict[str, Any]:
    """The photographs that `probes.photos` asks for: `auto`, `off` or a folder.

    Returns folder (None for no photographs), files (how many PNG files, before any are left out)
    and sha256 over names and bytes of everything that is read from there. Raises StageError with
    one sentence for a folder that is absent or has fewer than two folders of ten PNG files.
    """
    if where == "off" or (where == "auto" and not STAMPS.is_dir()):
        return {"folder": None, "files": 0, "sha256": None}
    root = STAMPS if where == "auto" else Path(where)
    if not root.is_dir():
        raise StageError(f"there is no folder {root}: give auto, off or a folder of cut-outs")
    found = sorted(root.rglob("*.png"))
    parts = [path.relative_to(root).parts for path in found]
    sizes = Counter(p[0] for p in parts if len(p) > 1 and "cartoon" not in p[:-1])
    if sum(count >= FEWEST for count in sizes.values()) < 2:
        raise StageError(
            f"{root} has fewer than two folders of at least {FEWEST} PNG files each: add "
            "photographs, or give auto or off"
        )
    total = sha256()
    for path in found:
        for file in (path, path.with_suffix(".txt")):  # a name may stand beside a photograph
            if file.is_file():
                name = file.relative_to(root).as_posix().encode()
                total.update(name + b"\0" + sha256(file.read_bytes()).digest())
    return {"folder": str(root), "files": len(found), "sha256": total.hexdigest()}


def folders(images: Iterable[Any]) -> list[dict[str, Any]]:
    """What is in the folders that `probes.images` names: path, number of files, sha256.

    The digest is over names and sizes, since data sets are too large to read through at every
    start: a file changed without changing its size is not noticed. Raises StageError for a folder
    that is not there.
    """
    found = []
    for one in images:
        root = Path(one.path)
        if not root.is_dir():
            raise StageError(f"{one.name}: there is no folder {root}")
        total, count = sha256(), 0
        for place, below, files in os.walk(root):
            below.sort()
            for name in sorted(files):
                path = Path(place, name)
                size = path.stat().st_size if path.exists() else -1  # a link into nothing
                total.update(f"{path.relative_to(root).as_posix()}\0{size}\0".encode())
                count += 1
        found.append({"folder": str(root), "files": count, "sha256": total.hexdigest()})
    return found


def text(told: dict[str, Any]) -> str:
    """An album, and folders as its `images`, as the text of photos.json."""
    return json.dumps(told, indent=1) + "\n"
