"""A model from the hub or from a folder of one's own, put into the form that stages read.

Weights become one safetensors file in float32, the processor one file, and no code from outside
runs. Answers are decoded by a study's own settings: of the model's generation config only its
ends and its padding are kept.
"""

import json
from pathlib import Path
from typing import Any

from steps import manifest
from steps.stage import StageError

FAMILY = "give one of model_type llava, llava_onevision, qwen2_5_vl, paligemma, gemma3"


def take(path: str, revision: str | None, target: Path) -> dict[str, Any]:
    """Write the model at `path` to the folder `target`; returns where it is from.

    path: a local folder, or a name on the hub, there at `revision` (a commit, tag or branch; the
    newest where None). Returns path, revision, and `sha256` of the folder or `commit` on the hub.
    Raises StageError with one sentence for what cannot be used.
    """
    import torch
    from transformers import AutoProcessor

    from steps.models import families

    local = Path(path).is_dir()
    if local and revision is not None:
        raise StageError(f"{path} is a folder, which has no revision {revision!r}: leave it out")
    at = {"trust_remote_code": False, **({} if local else {"revision": revision})}
    source = {"path": path, "revision": revision}
    if local:
        source["sha256"] = manifest.plain(Path(path))
    config = _config(path, at)
    _readable(path, config)
    if config.model_type != "llava" and not local:
        path = _fetched(path, revision)  # its processor is read file by file
        source["commit"] = Path(path).name
    read: Any = families.kind(config.model_type).from_pretrained(
        path, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **at
    )
    model, loaded = read  # a pair, which its type does not say
    if lacking := sorted(loaded["missing_keys"]):
        raise StageError(f"{path} lacks {len(lacking)} of its weights, among them {lacking[0]}")
    if not local and "commit" not in source:
        source["commit"] = getattr(model.config, "_commit_hash", None)
    if config.model_type == "llava":
        processor = AutoProcessor.from_pretrained(path, backend="pil", **at)
    else:
        processor = _placed(path, model)
    _complete(path, processor)
    if config.model_type == "llava":
        _counts(model, processor)
    _agree(path, model, processor)
    model.save_pretrained(target, max_shard_size="1TB")
    processor.save_pretrained(target)
    (target.parent / "source.json").write_text(json.dumps(source, indent=1) + "\n")
    return source


def _config(path: str, at: dict[str, Any]) -> Any:
    """The configuration. Raises StageError for code from outside."""
    from transformers import AutoConfig, PreTrainedConfig

    told, _ = PreTrainedConfig.get_config_dict(path, **at)
    if "auto_map" in told:
        raise StageError(
            f"{path} asks to run code of its own (auto_map in config.json), which is never done: "
            "give a model of a class that transformers has"
        )
    try:
        return AutoConfig.from_pretrained(path, **at)
    except (KeyError, ValueError) as error:
        raise StageError(f"{path} is of type {told.get('model_type')!r}: {FAMILY}") from error


def _fetched(name: str, revision: str | None) -> str:
    """The folder that a hub's files come to, weights as safetensors alone."""
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    return snapshot_download(name, revision=revision, allow_patterns=wanted)


def _placed(path: str, model: Any) -> Any:
    """The processor of a family that is not LLaVA; tells the model what `load.settings` finds."""
    from steps.models import load

    found = load.settings(path)
    for name in ("image_seq_length", "question_end_id"):
        if hasattr(found, name):
            setattr(model.config, name, getattr(found, name))
    return load.processor(path)


def _readable(path: str, config: Any) -> None:
    """Whether it is of a family that is known, and of a kind whose tower can be cut out."""
    from steps.models import families

    if config.model_type not in families.FAMILIES:
        raise StageError(f"{path} is of type {config.model_type!r}: {FAMILY}")
    layer = families.of(config).layer(config)
    if not isinstance(layer, int):
        raise StageError(
            f"{path}: its projector reads the layers {layer}; give a model "
            "whose vision_feature_layer is one number"
        )


def _complete(path: str, processor: Any) -> None:
    """A chat template, padding, and the sizes by which the processor counts image tokens."""
    words = processor.tokenizer
    if not words.chat_template and processor.chat_template:
        words.chat_template = processor.chat_template
    if not words.chat_template:
        raise StageError(f"{path} has no chat template: add chat_template.jinja to it")
    if words.eos_token_id is None:
        raise StageError(f"{path}: its tokenizer names no eos_token, so answers would not end")
    if words.pad_token_id is None:
        words.pad_token = words.eos_token


def _counts(model: Any, processor: Any) -> None:
    """Make a LLaVA and its processor agree on the number of image tokens.

    A vision tower with a class token (CLIP) gives one token more than it has patches; LLaVA's
    strategy `default` leaves that one out.
    """
    config = model.config
    vision, strategy = config.vision_config, config.vision_feature_select_strategy
    positions = [p for n, p in model.named_parameters() if "vision_tower" in n and "position" in n]
    patches = (vision.image_size // vision.patch_size) ** 2
    before = positions[0].shape[-2] - patches if positions else 0
    config.image_seq_length = patches + before - (strategy == "default")
    processor.patch_size = vision.patch_size
    processor.vision_feature_select_strategy = strategy
    processor.num_additional_image_tokens = before


def _agree(path: str, model: Any, processor: Any) -> None:
    """Make model and processor agree on image token, padding and ends, or say where they cannot."""
    from transformers import GenerationConfig

    config, words = model.config, processor.tokenizer
    if words.convert_tokens_to_ids(processor.image_token) != config.image_token_id:
        raise StageError(
            f"{path}: the processor's image token {processor.image_token!r} is not the model's "
            f"token {config.image_token_id}: set image_token_id in config.json"
        )
    old, text = model.generation_config, config.text_config
    ends = old.eos_token_id if old.eos_token_id is not None else words.eos_token_id
    every = ends if isinstance(ends, list) else [ends]
    never = [config.image_token_id, words.pad_token_id, words.bos_token_id]
    model.generation_config = GenerationConfig(
        eos_token_id=ends,
        pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id,
        suppress_tokens=[i for i in never if i is not None and i not in every],
    )
    text.pad_token_id = words.pad_token_id
    text.bos_token_id, text.eos_token_id = words.bos_token_id, ends
