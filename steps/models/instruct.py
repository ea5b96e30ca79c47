"""Recipe, part 4: instruct tuning, all parts trainable. Its end is the stage-1 base of all arms."""

import json
from pathlib import Path

from steps.data.language import vocabulary
from steps.models.batches import Lexicon, growing, seen, told
from steps.models.fit import fit
from steps.models.packed import loss


def run(params, inputs, out: Path) -> dict[str, float]:
    """Tune the aligned model; writes a whole VLM in Hugging Face's layout, and `losses.json`.

    Every so many steps (`recipe.text_every`) the batch is text only, so that the language model
    keeps what it knew. The loss is a mean over tokens, as in the trainer of the arm `continue`.
    """
    from steps.models import attention, load

    world, recipe = params.world, params.recipe
    lexicon = Lexicon(vocabulary())
    model = load.vlm(inputs["align"]).train()
    attention.use(model)
    patches, size = model.config.image_seq_length, recipe.instruct.batch

    def loss_of(step: int, rng):
        stage = growing(world, recipe.grow, step, recipe.instruct.steps)
        if recipe.text_every and step % recipe.text_every == recipe.text_every - 1:
            batch = told(stage, recipe, lexicon, rng, size)
        else:
            batch = seen(stage, recipe, lexicon, rng, size, patches)
        return loss(model, batch, "token")

    losses = fit(
        recipe.instruct,
        {"vlm": model},
        loss_of,
        params.run.checkpoints,
        recipe.seed,
        tower_share=recipe.tower_share,
    )
    model.save_pretrained(out)
    load.processor(inputs["align"]).save_pretrained(out)
    (out / "losses.json").write_text(json.dumps(losses))
    return {"loss": sum(losses[-100:]) / len(losses[-100:])}
