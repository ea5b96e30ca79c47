"""Which cut-out photographs a study shows: their folder and a digest of what is in it.

Neither engine looks outside the repository, so what is found here is written down as the file
`results/<study>/photos.json`, and that is what the stage `probes` depends on: other photographs,
or the first ones, run it again. Nothing heavy is imported: every start of an engine comes here.
"""

import json
from collections import Counter
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


def text(told: dict[str, Any]) -> str:
    """An album as the text of photos.json."""
    return json.dumps(told, indent=1) + "\n"
