"""Keys of params.yaml that are legal one by one and do not go together."""

from collections.abc import Iterator
from typing import Any

from steps.schema import Dpo, Grpo, Params, Sft
from steps.schema.logged import levels
from steps.schema.own import own_data

DIFFING = {
    **dict.fromkeys(("quality", "stability", "turned", "controls", "spatial"), "compare"),
    **dict.fromkeys(("heads", "intervene"), "spatial"),
    "atlas": "heads",
}
"""Instruments of model diffing, and the one whose results each takes up."""
ROOM = 15
"""Pixels that the canvas must have besides an object: it is moved by up to 9 into its split."""


def disagreements(params: Params) -> Iterator[str]:
    """One sentence (key, value, what is allowed) for each pair of keys that disagree."""
    yield from _world(params)
    if params.data.source == "files":
        yield from own_data(params)
    sizes = params.recipe.model
    for width, heads, times in (("tower_width", "tower_heads", 1), ("width", "heads", 2)):
        unit = times * getattr(sizes, heads)  # a rotary embedding turns pairs of numbers
        if getattr(sizes, width) % unit:
            yield (
                f"recipe.model.{width} = {getattr(sizes, width)}: give a multiple of {unit}"
                f" (recipe.model.{heads} = {getattr(sizes, heads)})"
            )
    yield from _training(params)
    yield from levels(params)
    if "forget" in params.instruments and "classify" not in params.instruments:
        yield (
            f"instruments = {', '.join(params.instruments)}: forget compares answers with the "
            "encoder's probes, add classify"
        )
    wanted = set(params.instruments)
    for name, need in DIFFING.items():
        if name in wanted and need not in wanted:
            yield (
                f"instruments = {', '.join(params.instruments)}: {name} reads what {need} writes, "
                f"add {need}"
            )
    diff = params.diff
    if diff.k >= diff.width:
        yield f"diff.k = {diff.k}: give a number below diff.width = {diff.width}"
    if "reuse" in params.instruments:
        for part, batch in (("align", params.recipe.align), ("instruct", params.recipe.instruct)):
            same = getattr(params.reuse, part).batch == batch.batch
            if same and any(params.recipe.seed in (2 * s, 2 * s + 1) for s in params.seeds):
                yield (
                    f"reuse.{part}.batch = {batch.batch}: give another than recipe.{part}.batch, "
                    "or other seeds, for the recipe drew the same scenes with recipe.seed = "
                    f"{params.recipe.seed}"
                )
    for name, arm in params.arms.items():
        if arm.seeds != "all" and arm.seeds > len(params.seeds):
            yield (
                f"arms.{name}.seeds = {arm.seeds}: give all, or at most {len(params.seeds)}, as "
                f"many as there are in seeds = {params.seeds}"
            )
    for one, other in params.contrasts:
        if one == other or not {one, other} <= set(params.arms):
            yield (
                f"contrasts: [{one}, {other}]: give two different arms, which are "
                f"{', '.join(params.arms)}"
            )
    whole = [name for name, arm in params.arms.items() if arm.seeds == "all"]
    if params.drift.reference not in whole:
        yield (
            f"drift.reference = {params.drift.reference!r}: give an arm that runs on all seeds: "
            f"{', '.join(whole)}"
        )
    if diff.batch > diff.tokens:
        yield f"diff.batch = {diff.batch}: give at most diff.tokens = {diff.tokens}"


def _world(params: Params) -> Iterator[str]:
    world = params.world
    if world.sprites == "photos":
        if params.items.novel_share != 1:
            yield (
                f"items.novel_share = {params.items.novel_share:g}: give 1, because with "
                "world.sprites = photos all judged scenes show photographs that training never does"
            )
        if params.probes.photos != "auto":
            yield (
                f"probes.photos = {params.probes.photos!r}: give auto, because with "
                "world.sprites = photos scenes show Debian's stamps and no others"
            )
    for name in ("small", "large"):
        span = getattr(world, name)
        if (need := canvas_for(span[1])) > world.canvas:
            yield (
                f"world.{name} = {span}: objects of {span[1]} pixels need a canvas of at least "
                f"{need}, and world.canvas = {world.canvas}"
            )


def canvas_for(diameter: int) -> int:
    """The side of the smallest canvas on which an object of this diameter stays, wherever put."""
    return 2 * ((diameter + 1) // 2 + 1) + ROOM


def _training(params: Params) -> Iterator[str]:
    items, batch = params.items, params.train.batch
    trained = [name for name in params.arms if params.arm_section(name) is not None]
    if trained and items.train < batch:
        yield f"items.train = {items.train}: give at least train.batch = {batch}, one step's items"
    for arm in trained:
        told = params.arm_section(arm)
        if isinstance(told, Sft) and told.items == "stage1" and items.stage1 < items.train:
            yield (
                f"items.stage1 = {items.stage1}: give at least items.train = {items.train}, "
                f"because arm {arm} trains on as many as the others"
            )
        yield from _together(params, arm, told)


def _together(params: Params, arm: str, told: Any) -> Iterator[str]:
    """What an arm cannot do in several processes, or with adapters."""
    train = params.train
    many = f"train.processes = {train.processes}"
    if isinstance(told, Grpo) and told.prompts % train.processes:
        yield f"{many}: give a divisor of grpo.prompts = {told.prompts} (arm {arm})"
    if isinstance(told, Grpo) and told.measure_every and train.processes > 1:
        yield f"{many}: give 1, or grpo.measure_every = 0: gradients are measured whole (arm {arm})"
    if isinstance(told, Sft) and told.patch_loss:
        if train.processes > 1 or train.lora.rank:
            yield (
                f"sft.patch_loss = {told.patch_loss:g}: it needs train.processes = 1 and "
                f"train.lora.rank = 0 (arm {arm})"
            )
    if isinstance(told, Dpo) and told.sft_epochs and train.shard:
        yield (
            f"dpo.sft_epochs = {told.sft_epochs:g}: give 0 with train.shard = true, and start from "
            f"the model of an SFT arm (arm {arm})"
        )
