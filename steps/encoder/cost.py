"""What it costs to make an encoder by the recipe: images, tokens and FLOPs of each part.

PIVOT calls its training less than 1 % of an encoder's pre-training; that was a ratio of samples,
and of numbers of devices. Here are three of the four currencies, counted, for the recipe's parts
`tower` (pre-training), `align` and `instruct` (stage 1, its second cycle included). The fourth,
time on a device, is another one each time: `timed` measures it, and no stage's result holds it.
The language model's own pre-training is no part: it is taken as it is, as the paper takes Qwen's.

    samples  = steps x batch, of steps on images
    tokens   = image tokens + words read (for the tower: words said of its regions)
    FLOPs    = 6 N_tower x image tokens for the tower (Kaplan et al. 2020, 2001.08361), and the
               rule of `steps.posttrain.budget` for the others, with what each of them trains

Tokens of a step are the mean over a few drawn batches: scenes and requests differ, sizes hardly.
"""

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from steps.data.language import vocabulary
from steps.data.speech import of
from steps.models import align, instruct
from steps.models.batches import Packed
from steps.models.tokenizer import Lexicon
from steps.posttrain import budget

DRAWN = 6
"""Batches that are drawn to count the tokens of a part's steps."""
PARTS = ("tower", "align", "instruct")
CURRENCIES = ("samples", "tokens", "flops")
WARM, TIMED = 2, 5
"""Steps that are run before time is taken, and steps that it is taken of."""


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Count for a base that the recipe made; returns `cost/<part>/<currency>`.

    params: `world` and `recipe`, whole. inputs: `base`, whose `aligned` tells the sizes.
    """
    from steps.models import load

    world, recipe = params.world, params.recipe
    vlm = load.vlm(Path(inputs["base"]) / "aligned")
    patches, lexicon = vlm.config.image_seq_length, Lexicon(vocabulary(of(world)))
    images = recipe.tower.steps * recipe.tower.batch
    read, size = images * patches, budget.sizes(vlm)["tower"]
    found = {
        "tower": (images, read + _said(world, recipe, lexicon), 6.0 * size * read),
    }
    for part in ("align", "instruct"):
        images, tokens = _stage1(part, world, recipe, lexicon, patches)
        vlm.requires_grad_(part == "instruct")
        vlm.model.multi_modal_projector.requires_grad_(True)
        passes = budget.Passes(round(tokens), images)
        found[part] = (images, tokens, budget.spent(vlm, 0, passes)["budget/flops"])
    return {
        f"cost/{part}/{currency}": value
        for part, values in found.items()
        for currency, value in zip(CURRENCIES, values, strict=True)
    }


def _steps(recipe: Any, part: str) -> int:
    """Steps of a part, the second cycle of `instruct` included."""
    return getattr(recipe, part).steps + (recipe.practise.steps if part == "instruct" else 0)


def _said(world: Any, recipe: Any, lexicon: Lexicon) -> float:
    """Words said of regions in all of the tower's pre-training, equal ones of a region once."""
    from steps.models.regions import described

    clear = world.model_copy(update=recipe.clear.model_dump())
    batch = recipe.tower.batch
    dice = (np.random.default_rng([recipe.seed, step]) for step in range(DRAWN))
    words = [described(clear, lexicon, rng, batch)[1].sum() for rng in dice]
    return float(np.mean(words)) * recipe.tower.steps


def _stage1(
    part: str, world: Any, recipe: Any, lexicon: Lexicon, patches: int
) -> tuple[int, float]:
    """Images shown in a part of stage 1, and tokens of all its steps."""
    kinds = np.zeros(_steps(recipe, part), bool)
    if part == "instruct":
        kinds[:] = [instruct.text_only(recipe, step) for step in range(len(kinds))]
    tokens = 0.0
    for text in (False, True):
        own = np.flatnonzero(kinds == text)
        some = own[np.linspace(0, len(own) - 1, min(DRAWN, len(own))).astype(int)]
        each = [_batch(part, world, recipe, lexicon, patches, int(step)) for step in some]
        if each:
            tokens += float(np.mean([(batch.segments >= 0).sum() for batch in each])) * len(own)
    return int((~kinds).sum()) * getattr(recipe, part).batch, tokens


def _batch(part: str, world: Any, recipe: Any, lexicon: Lexicon, patches: int, step: int) -> Packed:
    """The batch of a step of stage 1, as that part draws it."""
    draw = {"align": align.Draw, "instruct": instruct.Draw}[part]
    rng = np.random.default_rng([recipe.seed, step])
    return draw(world, recipe, lexicon, patches)(step, rng)


def timed(params: Any, base: Path) -> dict[str, float]:
    """Processor seconds that each part of the recipe would take here: measured, not guessed.

    Each part is run as its own stage runs it, for WARM and for WARM + TIMED steps; the difference
    over TIMED is a step's time, and the recipe's steps times that the part's. The first steps are
    in float32, so all of these are; steps on text alone count as steps on images.
    """
    from safetensors.torch import save_file

    from steps.models import load, tower

    stages = {"tower": tower, "align": align, "instruct": instruct}
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vlm = load.vlm(base / "aligned")
        for part in ("tower", "language"):
            weights = getattr(vlm.model, {"tower": "vision_tower"}.get(part, "language_model"))
            (folder / part).mkdir()
            save_file(weights.state_dict(), folder / part / f"{part}.safetensors")
        inputs = {"tower": folder / "tower", "language": folder / "language"}
        inputs["align"] = base / "aligned"
        for part in PARTS:
            short, long = (
                _seconds(stages[part], params, part, count, inputs, folder / f"{part}{count}")
                for count in (WARM, WARM + TIMED)
            )
            found[part] = _steps(params.recipe, part) * (long - short) / TIMED
    return found


def _seconds(
    stage: Any, params: Any, part: str, steps: int, inputs: dict[str, Path], out: Path
) -> float:
    """Processor seconds of a stage of the recipe that is cut down to so many steps."""
    out.mkdir()
    recipe = params.recipe
    less = {part: getattr(recipe, part).model_copy(update={"steps": steps, "save_every": 10**9})}
    less["practise"] = recipe.practise.model_copy(update={"steps": 0})
    run = SimpleNamespace(checkpoints=out / "checkpoints")
    told = SimpleNamespace(world=params.world, recipe=recipe.model_copy(update=less), run=run)
    start = time.process_time()
    stage.run(told, inputs, out)
    return time.process_time() - start
