"""A base model's folder, whatever its source: `instruct` (where arms start) and `aligned`.

`aligned` is the model before its language model met an image: the *before* of model diffing. A
base from the hub has none, and then nothing that needs it can be measured.
"""

import os
import shutil
from pathlib import Path

from steps.models import hub
from steps.stage import Missing
from steps.track import log

NEEDED = ("config.json", "model.safetensors", "tokenizer.json", "processor_config.json")


def run(params, inputs, out: Path) -> dict[str, float]:
    """Put a base in place; returns its size.

    inputs: `instruct` and `align` (committed weights of a bundled base, or stages of the recipe),
    or none (a hub model, bases.<base>.path; where it came from and its content's hash go into
    source.json).
    """
    base = params.bases[params.run.base]
    if base.source == "hub":
        log.text(f"base {params.run.base}: {hub.take(base.path, base.revision, out / 'instruct')}")
    else:  # committed weights are copied: results must not lead to them
        put = shutil.copytree if base.source == "bundled" else link
        put(inputs["instruct"], out / "instruct")
        put(inputs["align"], out / "aligned")
    for name in NEEDED:
        if not (out / "instruct" / name).is_file():
            raise Missing(
                f"base {params.run.base} has no instruct/{name}: give a folder that "
                "`save_pretrained` of model and processor wrote"
            )
    return {"parameters": _parameters(out / "instruct" / "model.safetensors")}


def link(source: Path, target: Path) -> None:
    """Copy a model folder by hard links where the file system allows, by bytes otherwise."""

    def one(a: str, b: str) -> None:
        try:
            os.link(a, b)
        except OSError:
            shutil.copy2(a, b)

    skip = shutil.ignore_patterns("manifest.json", "metrics.json", "losses.json")
    shutil.copytree(source, target, copy_function=one, ignore=skip)


def _parameters(weights: Path) -> int:
    """Numbers in a safetensors file, read off its header."""
    import json
    import math

    with open(weights, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")
