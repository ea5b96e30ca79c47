"""A draw as a set of the folder `probes`, in the files that the probes of the encoder read.

`<name>_images.npy` (uint8), `<name>.parquet` (item, split, label), `<name>_<kind>.npy` (maps),
the set's entry in probes.json, and in broken.json whatever could not be used and why.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from steps.data.readers.draw import Drawn
from steps.data.readers.listing import Listing
from steps.stage import StageError

LABEL = "label"
"""The column of the classes."""
OWN = ("classify", "segment")
"""Sets that every study has; their entries in probes.json are the keys of these names."""


def write(listing: Listing, drawn: Drawn, out: Path, name: str, kind: str) -> dict[str, float]:
    """Add a draw to the probe sets in `out`.

    name: of the set. `features` keeps patch tokens for a name with `segment` in it, so that of
    maps must have it and no other may. kind: what the labels or maps tell, `ade20k` for one.
    probes.json gets `sets.<name>`: {"classify": {kind: ["label"]}} or {"segment": {kind: names}};
    a set called `classify` or `segment` gets the same at the key of its name. Returns the numbers
    of images, broken and tried. Raises StageError for a name that does not fit.
    """
    if ("segment" in name) != (listing.kind == "segment"):
        raise StageError(
            f"the probe set {name!r} is one of {listing.kind}: names of sets with maps have "
            "`segment` in them, and no others"
        )
    out = Path(out)
    np.save(out / f"{name}_images.npy", drawn.images)
    drawn.table.to_parquet(out / f"{name}.parquet", index=False)
    if drawn.maps is not None:
        np.save(out / f"{name}_{kind}.npy", drawn.maps)
        entry = {kind: list(drawn.classes)}
    else:
        entry = {kind: [LABEL]}
    if name in OWN:
        _add(out / "probes.json", name, entry)
    else:
        _add(out / "probes.json", "sets", {name: {listing.kind: entry}})
    _add(out / "broken.json", name, told(listing, drawn))
    return {
        f"{name}/images": len(drawn.images),
        f"{name}/broken": len(drawn.broken),
        f"{name}/tried": drawn.tried,
    }


def told(listing: Listing, drawn: Drawn) -> dict[str, Any]:
    """What was left out of a draw, and why: a set's entry in broken.json."""
    return {
        "tried": drawn.tried,
        "used": len(drawn.images),
        "reasons": dict(Counter(b.reason for b in drawn.broken).most_common()),
        "broken": [b._asdict() for b in drawn.broken],
        "absent": [b._asdict() for b in listing.absent],
        "short": drawn.short,
        "untaught": drawn.untaught,
    }


def _add(path: Path, key: str, entry: dict[str, Any]) -> None:
    """Add to the object at `key` of a JSON file, which may not be there yet."""
    whole = json.loads(path.read_text()) if path.is_file() else {}
    whole.setdefault(key, {}).update(entry)
    path.write_text(json.dumps(whole, indent=1) + "\n")
