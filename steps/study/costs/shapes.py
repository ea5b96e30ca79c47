"""A model's sizes, from its configuration alone: no weights are read or made.

The model is built on PyTorch's meta device, where parameters have shapes and no memory, so that
its parts are counted as those of the real one are (`steps.posttrain.budget`).
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from steps.posttrain import budget
from steps.stage import StageError
from steps.study.costs import known
from steps.study.costs.formulas import Blocks

ASSUMED_TOKENS = 256
"""Image tokens of a model whose number depends on the image: Qwen2.5-VL's for 448 x 448 pixels."""


@dataclass
class Shape:
    """One base: where its configuration is from, its processor's folder if there is one.

    meta: the model on the meta device. tokens: of an image, in the language model; patches: in the
    tower. vocabulary: words. heads: of a layer of the language model.
    """

    source: str
    folder: Path | None
    meta: Any
    tokens: int
    patches: int
    vocabulary: int
    heads: int
    language: Blocks
    tower: Blocks

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Parameters by part."""
        return budget.sizes(self.meta)

    @cached_property
    def counted(self) -> dict[str, int]:
        """Those that a pass multiplies by: without embeddings that are no output layer as well."""
        if getattr(self.meta.config.get_text_config(), "tie_word_embeddings", True):
            return self.sizes
        rows = self.meta.get_input_embeddings().weight.numel()
        return self.sizes | {"language": self.sizes["language"] - rows}

    def adapters(self, rank: int) -> dict[str, int]:
        """Parameters that `steps.posttrain.adapters` trains: each matrix's two, the projector."""
        from torch.nn import Linear

        head = self.meta.get_output_embeddings()
        found = dict.fromkeys(budget.PARTS, 0) | {"projector": self.sizes["projector"]}
        for name, module in self.meta.named_modules():
            part = budget.part(name)
            if isinstance(module, Linear) and module is not head and part != "projector":
                found[part] += rank * (module.in_features + module.out_features)
        return found

    @property
    def parameters(self) -> int:
        """Parameters in all."""
        return sum(self.sizes.values())


def shape(params: Any, name: str) -> Shape:
    """The shape of a base of params. Raises StageError where its configuration is not to be had."""
    base = params.bases[name]
    if base.source == "train":
        config, folder, source = _recipe(params), None, "recipe.model"
    elif base.source == "joined":
        from steps.models.join import configured

        folder, source = None, f"{base.tower} and {base.language}"
        eye = _part(base.tower, f"bases.{name}.tower")
        text = _part(base.language, f"bases.{name}.language")
        config = configured(eye, text, Path(base.tower))
    else:
        path = f"models/{name}/instruct" if base.source == "bundled" else base.path
        folder = Path(path) if Path(path).is_dir() else None
        maker = None if folder else known.made(path)
        if maker is not None:
            return _maker(*maker, f"bases.{name}.path = {path!r}")
        config, source = _read(path, base.revision, f"bases.{name}"), path
    return of(config, source, folder)


def of(config: Any, source: str, folder: Path | None = None) -> Shape:
    """The shape of a configuration of Hugging Face's."""
    import torch
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    text, eye = config.get_text_config(), config.vision_config
    patches = tokens = getattr(config, "image_seq_length", 0) or ASSUMED_TOKENS
    side, patch = getattr(eye, "image_size", None), getattr(eye, "patch_size", None)
    if side and patch:
        patches = (side // patch) ** 2
        if config.model_type == "llava":  # as `steps.models.hub` has it for a foreign one
            tokens = patches
    heads = text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // heads
    keys = (getattr(text, "num_key_value_heads", None) or heads) * head
    language = Blocks(
        text.num_hidden_layers, text.hidden_size, heads * head, keys, text.intermediate_size, True
    )
    wide = eye.hidden_size
    hidden = getattr(eye, "intermediate_size", None) or 4 * wide
    layers = getattr(eye, "num_hidden_layers", None) or eye.depth
    tower = Blocks(layers, wide, wide, wide, hidden, eye.model_type.startswith("qwen"))
    sizes = (tokens, patches, text.vocab_size, heads)
    return Shape(source, folder, model, *sizes, language, tower)


def _recipe(params: Any) -> Any:
    from steps.data.language import vocabulary
    from steps.data.speech import of as speech
    from steps.models import build

    world = params.world
    return build.config(params.recipe.model, world.canvas, world.patch, vocabulary(speech(world)))


def _maker(study: str, base: str, key: str) -> Shape:
    """The shape of another study's base, whose arms have it too."""
    from steps.study.plan import plan

    params = plan(study, ahead=True).params
    if base not in params.bases:
        raise StageError(f"{key}: study {study} has no base {base}; give one of its own")
    return shape(params, base)


def _part(path: str, key: str) -> Any:
    """The configuration of a tower or language model in a folder, or of the public one so named."""
    from transformers import AutoConfig

    if (Path(path) / "config.json").is_file():
        return AutoConfig.from_pretrained(path, local_files_only=True)
    maker = known.made(path)
    if maker is not None:
        return _maker(*maker, f"{key} = {path!r}").meta.config
    if (told := known.config(path)) is not None:
        return told
    raise StageError(
        f"{key} = {path!r}: there is no config.json in it; put the model there, or its config.json "
        "(a plan needs no weights)"
    )


def _read(path: str, revision: str | None, key: str) -> Any:
    from transformers import AutoConfig

    local = Path(path).is_dir()
    if not local and (told := known.config(path)) is not None:
        return told
    try:
        at = {} if local or revision is None else {"revision": revision}
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, **at)
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:120]
        raise StageError(
            f"{key}.path = {path!r}: its config.json cannot be read ({said}); give a local folder "
            "or fetch it once (a plan needs no weights)"
        ) from None
    if not hasattr(config, "vision_config"):
        raise StageError(
            f"{key}.path = {path!r} is a {config.model_type}: give a model with a tower"
        )
    return config
