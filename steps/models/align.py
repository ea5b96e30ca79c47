"""Recipe, part 3: the projector learns to speak to the language model; both ends are frozen.

LLaVA's first stage. The language model has still not been changed by any image: with this
projector it is the *before* of model diffing.
"""

import json
from pathlib import Path

from steps.data.language import vocabulary
from steps.data.requests import shown
from steps.data.speech import of
from steps.models.batches import seen
from steps.models.fit import fit
from steps.models.packed import loss
from steps.models.tokenizer import Lexicon


def run(params, inputs, out: Path) -> dict[str, float]:
    """Align the projector; writes a whole VLM in Hugging Face's layout, and `losses.json`."""
    from safetensors.torch import load_file

    from steps.models import build

    world, recipe = params.world, params.recipe
    words = vocabulary(of(world))
    lexicon = Lexicon(words)
    config = build.config(recipe.model, world.canvas, world.patch, words)
    model = build.vlm(config, recipe.seed)
    model.model.vision_tower.load_state_dict(load_file(inputs["tower"] / "tower.safetensors"))
    told = load_file(inputs["language"] / "language.safetensors")
    model.model.language_model.load_state_dict(told)
    for part in (model.model.vision_tower, model.model.language_model):
        part.requires_grad_(False)

    def loss_of(step: int, rng):
        patches = config.image_seq_length
        batch = seen(world, recipe, lexicon, rng, recipe.align.batch, patches, shown(of(world)))
        return loss(model, batch)

    projector = {"projector": model.model.multi_modal_projector}
    losses = fit(recipe.align, projector, loss_of, params.run.checkpoints, recipe.seed)
    model.requires_grad_(True).save_pretrained(out)
    build.processor(world.canvas, world.patch, words).save_pretrained(out)
    (out / "losses.json").write_text(json.dumps(losses))
    return {"loss": sum(losses[-100:]) / len(losses[-100:])}
