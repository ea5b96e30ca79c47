"""A trained base becomes a bundled one: its weights and its recipe's first losses, committed.

A tower of which no more was made becomes an encoder by itself, for `reuse.encoders`.

`recipe.json` is what a test repeats: the losses of each part's first steps, so that the committed
weights are known to be what the recipe makes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from steps.models.fit import CHECKABLE
from steps.stage import StageError

PARTS = ("tower", "language", "align", "instruct")


def bundle(results: Path, base: str, folder: Path) -> Path:
    """Copy a finished `source: train` base from a study's results; returns models/<base>.

    Writes `aligned`, `instruct` and `recipe.json` (float losses of the first steps, by part).
    Raises StageError naming a part that the study has not made.
    """
    losses = {}
    for part in PARTS:
        file = results / part / base / "losses.json"
        if not file.is_file():
            raise StageError(
                f"{file} is missing: run the study with bases.{base}.source = train first"
            )
        losses[part] = json.loads(file.read_text())[:CHECKABLE]
    target = folder / base
    beside = shutil.ignore_patterns("manifest.json", "metrics.json", "losses.json", ".*")
    for part, name in (("align", "aligned"), ("instruct", "instruct")):
        shutil.rmtree(target / name, ignore_errors=True)
        shutil.copytree(results / part / base, target / name, ignore=beside)
    (target / "recipe.json").write_text(json.dumps(losses, indent=1) + "\n")
    return target


def encoder(params: Any, results: Path, base: str, folder: Path) -> Path:
    """Save a pre-trained tower as Hugging Face has a SiglipVisionModel; returns models/<base>.

    params: of the study that made it (world, recipe).
    """
    from safetensors.torch import load_file

    from steps.data.language import vocabulary
    from steps.data.speech import of
    from steps.models import build

    world, recipe, target = params.world, params.recipe, folder / base
    config = build.config(recipe.model, world.canvas, world.patch, vocabulary(of(world)))
    tower = build.vlm(config, recipe.seed).model.vision_tower
    tower.load_state_dict(load_file(results / "tower" / base / "tower.safetensors"))
    tower.save_pretrained(target)
    losses = json.loads((results / "tower" / base / "losses.json").read_text())[:CHECKABLE]
    (target / "recipe.json").write_text(json.dumps({"tower": losses}, indent=1) + "\n")
    return target
