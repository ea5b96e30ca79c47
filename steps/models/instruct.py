"""Recipe, part 4: instruct tuning, all parts trainable. Its end is the stage-1 base of all arms.

It ends in a second cycle of rates (`recipe.practise`) on whole scenes, in which what is learnt last
is asked most: where two objects lie to each other, of pictures and more often of stories.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from steps.data import requests
from steps.data.language import vocabulary
from steps.data.speech import of
from steps.models.batches import Packed, Source, growing, seen, told
from steps.models.fit import fit
from steps.models.packed import loss
from steps.models.tokenizer import Lexicon


@dataclass(frozen=True)
class Draw(Source):
    """Images with questions, of scenes that grow, and every so often stories with questions."""

    def __call__(self, step: int, rng: np.random.Generator) -> Packed:
        """The batch of a step."""
        recipe, size = self.recipe, self.recipe.instruct.batch
        stage = growing(self.world, recipe.grow, step, recipe.instruct.steps)
        more = requests.PRACTISED if step >= recipe.instruct.steps else ()
        if text_only(recipe, step):
            kinds = requests.told(of(stage)) + more
            return told(stage, recipe, self.lexicon, rng, size, kinds)
        kinds = requests.stage1(of(stage)) + more
        return seen(stage, recipe, self.lexicon, rng, size, self.patches, kinds)


def text_only(recipe: Any, step: int) -> bool:
    """Whether a step is on stories, without an image."""
    late = step >= recipe.instruct.steps
    every = recipe.practise.text_every if late else recipe.text_every
    return bool(every) and step % every == every - 1


def run(params, inputs, out: Path) -> dict[str, float]:
    """Tune the aligned model; writes a whole VLM in Hugging Face's layout, and `losses.json`.

    Every so many steps (`text_every`) the batch is text only, so that the language model keeps what
    it knew. The loss is a mean over tokens, as in the trainer of the arm `continue`.
    """
    from steps.models import attention, load

    world, recipe = params.world, params.recipe
    model = load.vlm(inputs["align"]).to(load.device()).train()
    attention.use(model)
    losses = fit(
        recipe.instruct,
        {"vlm": model},
        Draw(world, recipe, Lexicon(vocabulary(of(world))), model.config.image_seq_length),
        partial(loss, model, by="token"),
        params.run.checkpoints,
        recipe.seed,
        tower_share=recipe.tower_share,
        again=recipe.practise.steps,
    )
    model.cpu().save_pretrained(out)
    load.processor(inputs["align"]).save_pretrained(out)
    (out / "losses.json").write_text(json.dumps(losses))
    return {"loss": sum(losses[-100:]) / len(losses[-100:])}
