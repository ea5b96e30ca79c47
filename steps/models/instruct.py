"""Recipe, part 4: instruct tuning, all parts trainable. Its end is the stage-1 base of all arms.

It ends in a second cycle of rates (`recipe.practise`) on whole scenes, in which what is learnt last
is asked most: where two objects lie to each other, of pictures and more often of stories.
"""

import json
from pathlib import Path

from steps.data.language import vocabulary
from steps.data.requests import PRACTISED, stage1
from steps.data.requests import told as stories
from steps.data.speech import of
from steps.models.batches import growing, seen, told
from steps.models.fit import fit
from steps.models.packed import loss
from steps.models.tokenizer import Lexicon


def run(params, inputs, out: Path) -> dict[str, float]:
    """Tune the aligned model; writes a whole VLM in Hugging Face's layout, and `losses.json`.

    Every so many steps (`text_every`) the batch is text only, so that the language model keeps what
    it knew. The loss is a mean over tokens, as in the trainer of the arm `continue`.
    """
    from steps.models import attention, load

    world, recipe = params.world, params.recipe
    lexicon = Lexicon(vocabulary(of(world)))
    model = load.vlm(inputs["align"]).train()
    attention.use(model)
    patches, size = model.config.image_seq_length, recipe.instruct.batch

    def loss_of(step: int, rng):
        stage = growing(world, recipe.grow, step, recipe.instruct.steps)
        late = step >= recipe.instruct.steps
        every, more = (recipe.practise.text_every, PRACTISED) if late else (recipe.text_every, ())
        if every and step % every == every - 1:
            batch = told(stage, recipe, lexicon, rng, size, stories(of(world)) + more)
        else:
            batch = seen(stage, recipe, lexicon, rng, size, patches, stage1(of(world)) + more)
        return loss(model, batch, "token")

    losses = fit(
        recipe.instruct,
        {"vlm": model},
        loss_of,
        params.run.checkpoints,
        recipe.seed,
        tower_share=recipe.tower_share,
        again=recipe.practise.steps,
    )
    model.save_pretrained(out)
    load.processor(inputs["align"]).save_pretrained(out)
    (out / "losses.json").write_text(json.dumps(losses))
    return {"loss": sum(losses[-100:]) / len(losses[-100:])}
