"""An encoder in a fresh language model, with a fresh projector: PIVOT's test (2510.16333, 3a, 3b).

The language model is the base's from before it met an image. The projector's weights depend on the
seed alone, and so do the batches: encoders of equal width start from the same numbers and see the
same questions. (For a tower of another width the same seed gives a projector of another shape.)
Nothing of the projector that the encoder was trained with is kept: the paper's appendix keeps a
layer of it for some rows and not for others.

Scenes are of the split `probe`: what made the encoder (the recipe, every arm) drew from `train`,
what judges it is `test`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from steps.data.language import vocabulary
from steps.data.requests import shown, stage1
from steps.data.speech import of
from steps.models.batches import Packed, Source, growing, seen
from steps.models.fit import fit
from steps.models.join import fresh
from steps.models.packed import loss
from steps.models.tokenizer import Lexicon

SPLIT = "probe"


@dataclass(frozen=True)
class Draw(Source):
    """Images with questions; `grows` says whether their scenes do, as in the recipe."""

    part: Any
    kinds: tuple[str, ...]
    grows: bool

    def __call__(self, step: int, rng: np.random.Generator) -> Packed:
        """The batch of a step."""
        world, part = self.world, self.part
        if self.grows:
            world = growing(world, self.recipe.grow, step, part.steps)
        drawn = (rng, part.batch, self.patches, self.kinds, SPLIT)
        return seen(world, self.recipe, self.lexicon, *drawn)


def model(aligned: Path, tower: Any, seed: int) -> Any:
    """The VLM in `aligned` with another tower, float32 [image -> tokens], and a fresh projector.

    tower: as `steps.encoder.tower.cut` gives it, read at its last block.
    """
    from steps.models import load

    vlm = load.vlm(aligned)
    config = vlm.config
    config.vision_config = tower.config
    config.vision_feature_layer = -1
    config.image_seq_length = (tower.config.image_size // tower.config.patch_size) ** 2
    vlm.model.vision_tower = tower
    vlm.model.multi_modal_projector = fresh(config, seed)
    return vlm


def train(vlm: Any, params: Any, seed: int, checkpoints: Path) -> dict[str, list[float]]:
    """The projector alone, then projector and language model; losses of every step of both.

    params: `world`, what `steps.models.batches` reads of `recipe`, and `reuse` (align, instruct,
    tower: whether it stays frozen in the second part). A killed run resumes from `checkpoints`.
    """
    from steps.models import attention, load

    reuse, parts = params.reuse, vlm.to(load.device()).model
    attention.use(vlm.train())
    vlm.requires_grad_(False)
    parts.multi_modal_projector.requires_grad_(True)
    first = {"projector": parts.multi_modal_projector}
    losses = {"align": _fit(vlm, first, params, "align", 2 * seed, checkpoints)}
    vlm.requires_grad_(True)
    parts.vision_tower.requires_grad_(reuse.tower == "trained")
    second = {"vlm": vlm}
    losses["instruct"] = _fit(vlm, second, params, "instruct", 2 * seed + 1, checkpoints)
    vlm.set_attn_implementation("sdpa")
    vlm.eval()
    return losses


def _fit(
    vlm: Any, modules: dict, params: Any, name: str, seed: int, checkpoints: Path
) -> list[float]:
    """One part, by the recipe's own loop and in its own mixture of requests."""
    speech, late = of(params.world), name == "instruct"
    draw = Draw(
        params.world,
        params.recipe,
        Lexicon(vocabulary(speech)),
        vlm.config.image_seq_length,
        getattr(params.reuse, name),
        stage1(speech) if late else shown(speech),
        late,
    )
    by = partial(loss, vlm, by="token" if late else "response")
    share = params.recipe.tower_share
    return fit(draw.part, modules, draw, by, checkpoints / name, seed, tower_share=share)
