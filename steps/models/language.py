"""Recipe, part 2: the language model learns the world's language from text alone.

Stories are textual twins of scenes followed by questions about them, and facts that need no
scene. Spatial words mean something before any image is seen: the model diffing of later stages
needs a language model that knows what `left` is and has never looked.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from steps.data.language import vocabulary
from steps.data.speech import of
from steps.models.batches import Packed, growing, told
from steps.models.fit import fit
from steps.models.packed import loss
from steps.models.tokenizer import Lexicon


@dataclass(frozen=True)
class Draw:
    """Stories and facts, of scenes that grow."""

    world: Any
    recipe: Any
    lexicon: Lexicon

    def __call__(self, step: int, rng: np.random.Generator) -> Packed:
        """The batch of a step."""
        recipe = self.recipe
        stage = growing(self.world, recipe.grow, step, recipe.language.steps)
        return told(stage, recipe, self.lexicon, rng, recipe.language.batch)


def run(params, inputs, out: Path) -> dict[str, float]:
    """Pre-train the decoder; writes `language.safetensors` and `losses.json`."""
    from safetensors.torch import save_file

    from steps.models import attention, build, load

    world, recipe = params.world, params.recipe
    words = vocabulary(of(world))
    model = build.vlm(build.config(recipe.model, world.canvas, world.patch, words), recipe.seed)
    model.to(load.device())
    attention.use(model)
    losses = fit(
        recipe.language,
        {"language": model.model.language_model},
        Draw(world, recipe, Lexicon(words)),
        partial(loss, model),
        params.run.checkpoints,
        recipe.seed,
    )
    save_file(model.cpu().model.language_model.state_dict(), out / "language.safetensors")
    (out / "losses.json").write_text(json.dumps(losses))
    return {"loss": sum(losses[-100:]) / len(losses[-100:])}
