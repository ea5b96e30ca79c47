"""A LLaVA from the hub or from a folder of one's own, put into the form that stages read.

Weights become one safetensors file in float32, the processor one file, and no code from outside
runs. Answers are decoded by a study's own settings: of the model's generation config only its
ends and its padding are kept.
"""

import json
from pathlib import Path
from typing import Any

from steps import manifest
from steps.stage import StageError


def take(path: str, revision: str | None, target: Path) -> dict[str, Any]:
    """Write the model at `path` to the folder `target`; returns where it is from.

    path: a local folder, or a name on the hub, there at `revision` (a commit, tag or branch; the
    newest where None). Returns path, revision, and `sha256` of the folder or `commit` on the hub.
    Raises StageError with one sentence for what cannot be used.
    """
    import torch
    from transformers import AutoConfig, AutoProcessor, LlavaForConditionalGeneration

    local = Path(path).is_dir()
    if local and revision is not None:
        raise StageError(f"{path} is a folder, which has no revision {revision!r}: leave it out")
    at = {"trust_remote_code": False, **({} if local else {"revision": revision})}
    source = {"path": path, "revision": revision}
    if local:
        source["sha256"] = manifest.plain(Path(path))
    _readable(path, AutoConfig.from_pretrained(path, **at))
    read: Any = LlavaForConditionalGeneration.from_pretrained(
        path, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **at
    )
    model, loaded = read  # a pair, which its type does not say
    if lacking := sorted(loaded["missing_keys"]):
        raise StageError(f"{path} lacks {len(lacking)} of its weights, among them {lacking[0]}")
    if not local:
        source["commit"] = getattr(model.config, "_commit_hash", None)
    processor = AutoProcessor.from_pretrained(path, backend="pil", **at)
    _complete(path, processor)
    _agree(path, model, processor)
    model.save_pretrained(target, max_shard_size="1TB")
    processor.save_pretrained(target)
    (target.parent / "source.json").write_text(json.dumps(source, indent=1) + "\n")
    return source


def _readable(path: str, config: Any) -> None:
    """Whether it is a LLaVA, and of a kind whose tower can be cut out."""
    if config.model_type != "llava":
        raise StageError(f"{path} is of type {config.model_type!r}: give one of model_type llava")
    if not isinstance(config.vision_feature_layer, int):
        raise StageError(
            f"{path}: its projector reads the layers {config.vision_feature_layer}; give a LLaVA "
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


def _agree(path: str, model: Any, processor: Any) -> None:
    """Make model and processor agree on image tokens, padding and ends, or say where they cannot.

    A vision tower with a class token (CLIP) gives one token more than it has patches; LLaVA's
    strategy `default` leaves that one out.
    """
    from transformers import GenerationConfig

    config, words = model.config, processor.tokenizer
    vision, strategy = config.vision_config, config.vision_feature_select_strategy
    positions = [p for n, p in model.named_parameters() if "vision_tower" in n and "position" in n]
    patches = (vision.image_size // vision.patch_size) ** 2
    before = positions[0].shape[0] - patches if positions else 0
    config.image_seq_length = patches + before - (strategy == "default")
    processor.patch_size = vision.patch_size
    processor.vision_feature_select_strategy = strategy
    processor.num_additional_image_tokens = before
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
