"""An encoder in a fresh language model, with a fresh projector: PIVOT's test (2510.16333, 3a, 3b).

The language model is the base's from before it met an image. The projector's weights depend on the
seed alone, and so do the batches: encoders of equal width start from the same numbers and see the
same questions. (For a tower of another width the same seed gives a projector of another shape.)
Nothing of the projector that the encoder was trained with is kept: the paper's appendix keeps a
layer of it for some rows and not for others.

Scenes are of the split `probe`: what made the encoder (the recipe, every arm) drew from `train`,
what judges it is `test`.
"""

from pathlib import Path
from typing import Any

from steps.data.language import vocabulary
from steps.data.requests import SHOWN, STAGE1
from steps.models.batches import growing, seen
from steps.models.fit import fit
from steps.models.packed import loss
from steps.models.tokenizer import Lexicon

SPLIT = "probe"


def model(aligned: Path, tower: Any, seed: int) -> Any:
    """The VLM in `aligned` with another tower, float32 [image -> tokens], and a fresh projector.

    tower: as `steps.encoder.tower.cut` gives it, read at its last block.
    """
    import torch
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    from steps.models import load

    vlm = load.vlm(aligned)
    config = vlm.config
    config.vision_config = tower.config
    config.vision_feature_layer = -1
    config.image_seq_length = (tower.config.image_size // tower.config.patch_size) ** 2
    torch.manual_seed(seed)
    projector = LlavaMultiModalProjector(config)
    for layer in (projector.linear_1, projector.linear_2):  # as Hugging Face starts a new LLaVA's
        torch.nn.init.normal_(layer.weight, std=config.text_config.initializer_range)
        torch.nn.init.zeros_(layer.bias)
    vlm.model.vision_tower = tower
    vlm.model.multi_modal_projector = projector
    return vlm


def train(vlm: Any, params: Any, seed: int, checkpoints: Path) -> dict[str, list[float]]:
    """The projector alone, then projector and language model; losses of every step of both.

    params: `world`, what `steps.models.batches` reads of `recipe`, and `reuse` (align, instruct,
    tower: whether it stays frozen in the second part). A killed run resumes from `checkpoints`.
    """
    from steps.models import attention

    reuse, parts = params.reuse, vlm.model
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
    part, recipe = getattr(params.reuse, name), params.recipe
    lexicon, patches = Lexicon(vocabulary()), vlm.config.image_seq_length
    late = name == "instruct"
    kinds, by = (STAGE1, "token") if late else (SHOWN, "response")

    def loss_of(step: int, rng: Any) -> Any:
        world = growing(params.world, recipe.grow, step, part.steps) if late else params.world
        batch = seen(world, recipe, lexicon, rng, part.batch, patches, kinds, SPLIT)
        return loss(vlm, batch, by)

    return fit(part, modules, loss_of, checkpoints / name, seed, tower_share=recipe.tower_share)
