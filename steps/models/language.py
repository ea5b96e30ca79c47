"""Recipe, part 2: the language model learns the world's language from text alone.

Stories are textual twins of scenes followed by questions about them, and facts that need no
scene. Spatial words mean something before any image is seen: the model diffing of later stages
needs a language model that knows what `left` is and has never looked.
"""

import json
from pathlib import Path

from steps.data.language import vocabulary
from steps.data.speech import of
from steps.models.batches import growing, told
from steps.models.fit import fit
from steps.models.packed import loss
from steps.models.tokenizer import Lexicon


def run(params, inputs, out: Path) -> dict[str, float]:
    """Pre-train the decoder; writes `language.safetensors` and `losses.json`."""
    from safetensors.torch import save_file

    from steps.models import attention, build

    world, recipe = params.world, params.recipe
    words = vocabulary(of(world))
    lexicon = Lexicon(words)
    model = build.vlm(build.config(recipe.model, world.canvas, world.patch, words), recipe.seed)
    attention.use(model)

    def loss_of(step: int, rng):
        stage = growing(world, recipe.grow, step, recipe.language.steps)
        return loss(model, told(stage, recipe, lexicon, rng, recipe.language.batch))

    losses = fit(
        recipe.language,
        {"language": model.model.language_model},
        loss_of,
        params.run.checkpoints,
        recipe.seed,
    )
    save_file(model.model.language_model.state_dict(), out / "language.safetensors")
    (out / "losses.json").write_text(json.dumps(losses))
    return {"loss": sum(losses[-100:]) / len(losses[-100:])}
