"""Three short tunings of the aligned model that differ in one thing: what stands before a question.

Does a feature turn because the model learnt to see, or because it was tuned at all? By instruct's
loop and mixture of requests, from the same weights, over the same steps:

    seen        the scene's image stands before its questions, as in `instruct`
    told        the scene told in words does, and no image (the control of tuning on text)
    shuffled    the image of another scene of the batch does (the control of a mismatched image)

All three are asked the very same questions about the very same scenes, each of which can be
answered from either: of relations those that the telling holds. So `seen` is instruct but for
relations that no telling holds, and for its second cycle of rates. The steps that instruct takes on
text alone are the same batch in all three.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from steps.data import requests
from steps.data.language import View, twin, vocabulary
from steps.data.paint import render
from steps.data.speech import of
from steps.data.world import sample
from steps.models import batches
from steps.models.batches import Packed, Source
from steps.models.fit import fit
from steps.models.packed import loss
from steps.models.tokenizer import IMAGE, Lexicon
from steps.stage import StageError

BEFORE = ("seen", "told", "shuffled")
LAST = 100
"""Steps at the end of training that a final loss is averaged over."""
HELD = 8
"""Batches of unseen scenes on which the three are read with an image and with a grey one."""
GREY = 127


@dataclass(frozen=True)
class Draw(Source):
    """Questions about scenes that grow; `before` says what stands before them."""

    part: Any
    before: str

    def __call__(self, step: int, rng: np.random.Generator) -> Packed:
        """The batch of a step."""
        recipe, size = self.recipe, self.part.batch
        stage = batches.growing(self.world, recipe.grow, step, self.part.steps)
        if recipe.text_every and step % recipe.text_every == recipe.text_every - 1:
            kinds = requests.told(of(stage))
            return batches.told(stage, recipe, self.lexicon, rng, size, kinds)
        return self.about(stage, rng, "train")

    def about(self, world: Any, rng: np.random.Generator, split: str) -> Packed:
        """A batch about fresh scenes of a split: questions alike, whatever stands before them.

        Raises StageError where a batch has no other scene to take an image from.
        """
        size, kinds = self.part.batch, requests.stage1(of(world))
        if size < 2:
            raise StageError(
                f"tuned.batch = {size}: the control of shuffled images needs at least 2"
            )
        scenes = sample(world, rng, size, split)
        patches = [self.lexicon[IMAGE]] * self.patches
        rows = []
        for i in range(size):
            view = View(scenes, i)
            story, view.pairs = twin(view, rng)  # may be asked for: what the telling holds
            prefix = self.lexicon.encode(f"user : {story}" if self.before == "told" else "user :")
            recipe = self.recipe
            counts = (recipe.image_questions, recipe.captions)
            asked = batches.segments(view, self.lexicon, rng, recipe, kinds, *counts)
            rows.append((prefix if self.before == "told" else prefix + patches, asked))
        batch = batches.pack(rows)
        if self.before != "told":
            images = render(world, scenes)[0]
            own = self.before == "seen"
            batch.images = images if own else images[elsewhere(size, rng)]
        return batch


def elsewhere(count: int, rng: np.random.Generator) -> np.ndarray:
    """A random order of `count` things in which none stays in its place: one long cycle."""
    cycle = rng.permutation(count)
    order = np.empty(count, int)
    order[cycle] = np.roll(cycle, 1)
    return order


def run(params, inputs, out: Path) -> dict[str, float]:
    """Tune the aligned model of inputs['base'] three times.

    Writes seen/, told/ and shuffled/, each a whole VLM in Hugging Face's layout, and losses.json.
    params: `world`, `tuned` (a part as `recipe.instruct` is) and what `recipe` says of requests,
    growing scenes and the tower's share of the rates. A killed run goes on from
    params.run.checkpoints. Beside the losses of training stand those on unseen scenes, of answers
    behind the scene's own image and behind a grey one: the less the second tells, the more the
    model looks.
    """
    from steps.models import attention, load

    aligned = inputs["base"] / "aligned"
    world, part = params.world, params.tuned
    draw = Draw(world, params.recipe, Lexicon(vocabulary(of(world))), 0, part, "seen")
    seed, metrics, losses = params.run.seed or 0, {}, {}
    for before in BEFORE:
        model = load.vlm(aligned).to(load.device()).train()
        attention.use(model)
        draw = replace(draw, patches=model.config.image_seq_length, before=before)
        losses[before] = fit(
            part,
            {"vlm": model},
            draw,
            partial(loss, model, by="token"),
            params.run.checkpoints / before,
            seed,
            tower_share=params.recipe.tower_share,
        )
        metrics[f"tuned/{before}/loss"] = float(np.mean(losses[before][-LAST:]))
        metrics |= {f"tuned/{before}/{k}": v for k, v in _read(model.eval(), draw, seed).items()}
        model.cpu().save_pretrained(out / before)
        load.processor(aligned).save_pretrained(out / before)
    (out / "losses.json").write_text(json.dumps(losses))
    return metrics


def _read(model: Any, draw: Draw, seed: int) -> dict[str, float]:
    """Mean loss on batches of unseen scenes, of all objects, with their images and with grey."""
    import torch

    draw, found = replace(draw, before="seen"), {"loss_image": 0.0, "loss_grey": 0.0}
    with torch.inference_mode():
        for number in range(HELD):
            batch = draw.about(draw.world, np.random.default_rng([seed, 29, number]), "tune")
            found["loss_image"] += loss(model, batch, by="token").item() / HELD
            batch.images = np.full_like(batch.images, GREY)
            found["loss_grey"] += loss(model, batch, by="token").item() / HELD
    return found
