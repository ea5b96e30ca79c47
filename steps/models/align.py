"""Recipe, part 3: the projector learns to speak to the language model; both ends are frozen.

LLaVA's first stage. The language model has still not been changed by any image: with this
projector it is the *before* of model diffing.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from steps.data.language import vocabulary
from steps.data.requests import shown
from steps.data.speech import of
from steps.models.batches import Packed, Source, seen
from steps.models.fit import fit
from steps.models.packed import loss
from steps.models.tokenizer import Lexicon


@dataclass(frozen=True)
class Draw(Source):
    """Images with questions about what they show."""

    def __call__(self, step: int, rng: np.random.Generator) -> Packed:
        """The batch of a step."""
        kinds, size = shown(of(self.world)), self.recipe.align.batch
        return seen(self.world, self.recipe, self.lexicon, rng, size, self.patches, kinds)


def run(params, inputs, out: Path) -> dict[str, float]:
    """Align the projector; writes a whole VLM in Hugging Face's layout, and `losses.json`."""
    from safetensors.torch import load_file

    from steps.models import build, load

    world, recipe = params.world, params.recipe
    words = vocabulary(of(world))
    config = build.config(recipe.model, world.canvas, world.patch, words)
    model = build.vlm(config, recipe.seed)
    model.model.vision_tower.load_state_dict(load_file(inputs["tower"] / "tower.safetensors"))
    told = load_file(inputs["language"] / "language.safetensors")
    model.model.language_model.load_state_dict(told)
    for part in (model.model.vision_tower, model.model.language_model):
        part.requires_grad_(False)
    model.to(load.device())
    losses = fit(
        recipe.align,
        {"projector": model.model.multi_modal_projector},
        Draw(world, recipe, Lexicon(words), config.image_seq_length),
        partial(loss, model),
        params.run.checkpoints,
        recipe.seed,
    )
    model.cpu().requires_grad_(True).save_pretrained(out)
    build.processor(world.canvas, world.patch, words).save_pretrained(out)
    (out / "losses.json").write_text(json.dumps(losses))
    return {"loss": sum(losses[-100:]) / len(losses[-100:])}
