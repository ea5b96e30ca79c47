"""Model families: what differs between vision-language models, one module for each.

A family's model takes what a LLaVA takes: token ids, a mask, and pixel values with one row an
image. What its class wants beside these (types of tokens, grids, sizes) follows from them, and
`given` adds it. Every module has the names that `NAMES` lists.
"""

import re
from functools import cache, wraps
from types import ModuleType
from typing import Any

from steps.models.families import gemma3, llava, llava_onevision, paligemma, qwen2_5_vl
from steps.stage import StageError

FAMILIES: dict[str, ModuleType] = {
    "llava": llava,
    "llava_onevision": llava_onevision,
    "qwen2_5_vl": qwen2_5_vl,
    "paligemma": paligemma,
    "gemma3": gemma3,
}
"""By `model_type` of config.json."""

# What the constants of a family say. CLASS: its class in transformers. PACKS: whether several
# sequences may share the keys and values of an image, as LLaVA's may. LAST: whether its projector
# reads the tower behind its last norm. RASTER: whether an image's tokens are its cells in reading
# order, each once.

NAMES = (
    "CLASS",
    "PACKS",
    "LAST",
    "RASTER",
    "part",
    "tower",
    "projector",
    "blocks",
    "layer",
    "skip",
)
NAMES += ("given", "tokens", "template", "images", "states", "describe", "head", "inside")


def of(what: Any) -> ModuleType:
    """The family of a model or of its config. Raises StageError for one that is not here."""
    config = getattr(what, "config", what)
    if config.model_type not in FAMILIES:
        raise StageError(
            f"{config.name_or_path or 'the model'} is of type {config.model_type!r}: give one of "
            f"model_type {', '.join(FAMILIES)}"
        )
    return FAMILIES[config.model_type]


def part(name: str) -> str:
    """Which of tower, projector and language a parameter belongs to, by its name, in any family."""
    found = {family.part(name) for family in FAMILIES.values()} - {"language"}
    return found.pop() if found else "language"


def unread(model: Any) -> set[str]:
    """Names of the tower's weights, within the tower, that its projector's input hangs not on.

    Blocks above the one that is read, a pooling head, the norm behind them all where it is not
    read, and what pre-training masked with. None where a projector reads several layers.
    """
    family, layer = of(model), of(model).layer(model.config)
    if not isinstance(layer, int):
        return set()
    blocks = family.blocks(model.config)
    kept = layer if layer >= 0 else blocks + 1 + layer
    never = r".*mask_token|(vision_model\.)?head\..*"
    if not (family.LAST and kept == blocks):
        never += r"|(vision_model\.)?(post_)?layernorm\..*"

    def above(name: str) -> bool:
        block = re.search(r"\b(?:layers?|blocks)\.(\d+)\.", name)
        return block is not None and int(block[1]) >= kept

    names = (name for name, _ in family.tower(model).named_parameters())
    return {name for name in names if above(name) or re.fullmatch(never, name)}


def only(model: Any, what: str) -> None:
    """Raise StageError unless `model` is a LLaVA, which alone `what` can read."""
    if model.config.model_type != "llava":
        raise StageError(
            f"a model of type {model.config.model_type!r} cannot be read by {what}, which knows "
            f"LLaVA's pixels and positions alone: leave {what} out"
        )


@cache
def kind(model_type: str) -> Any:
    """The class of a family's models, which takes what a LLaVA takes.

    It has the name of the class that it comes from, which checkpoints keep.
    """
    import transformers

    family = FAMILIES[model_type]
    stock = getattr(transformers, family.CLASS)
    if family is llava:
        return stock

    def start(self: Any, *args: Any, **told: Any) -> None:
        stock.__init__(self, *args, **told)
        # Not on the model itself: TRL calls what stands before the output layer by its own.
        self.model.register_forward_pre_hook(adapt, with_kwargs=True)

    def adapt(inner: Any, args: tuple, told: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        if args:
            told = {**told, "input_ids": args[0]}
        return args[1:], family.given(inner, told)

    @wraps(stock.generate)
    def generate(self: Any, inputs: Any = None, **told: Any) -> Any:
        ids = told.pop("input_ids", inputs)
        return stock.generate(self, **family.given(self, {"input_ids": ids, **told}))

    methods = {"__init__": start, "generate": generate, "__module__": stock.__module__}
    return type(family.CLASS, (stock,), methods)
