"""Whether a checkpoint is its base with other weights: same words, same image layout, same sizes.

A difference is told by the field's name, the base's value and the checkpoint's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from steps.stage import StageError

FREE = {
    *("transformers_version", "torch_dtype", "dtype", "_name_or_path", "architectures"),
    *("use_cache", "initializer_range", "initializer_factor", "image_seq_length", "auto_map"),
    *("pad_token_id", "bos_token_id", "eos_token_id", "attn_implementation", "quantization_config"),
    *("output_attentions", "output_hidden_states", "attention_dropout", "id2label", "label2id"),
}
"""Keys of a configuration by which models with equal weights do not differ, or that trainers and
the project itself set in passing; ends of texts are compared as the tokenizer's own."""
SPECIAL = ("bos_token", "eos_token", "unk_token", "image_token")
"""Special tokens compared. Padding is masked, so trainers may choose what they pad with."""
IMAGES = (
    *("do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale"),
    *("rescale_factor", "do_normalize", "image_mean", "image_std"),
)
Differences = Iterator[tuple[str, Any, Any]]
"""Field, the base's value, the checkpoint's."""


def files(folder: Path, base: Path) -> None:
    """Raise StageError where a checkpoint's own settings are not those of the model in `base`.

    Settings that it does not bring along (an adapter has no config.json) are the base's.
    """
    for field, ours, theirs in differences(folder, base):
        raise StageError(
            f"{folder}: {field} is {theirs!r}, and the base's is {ours!r}: give a checkpoint of "
            "this base, or name its own base under `bases`"
        )


def differences(folder: Path, base: Path) -> Differences:
    """Every setting that differs: configuration, then words, then image processor."""
    if (folder / "config.json").is_file():
        yield from _configs(folder, base)
    if (folder / "tokenizer.json").is_file() or (folder / "tokenizer_config.json").is_file():
        yield from _words(folder, base)
    if any((folder / name).is_file() for name in ("processor_config.json", PREPROCESSOR)):
        yield from _images(folder, base)


PREPROCESSOR = "preprocessor_config.json"


def _configs(folder: Path, base: Path) -> Differences:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        theirs, ours = (
            AutoConfig.from_pretrained(str(at), local_files_only=True, trust_remote_code=False)
            for at in (folder, base)
        )
    except (ValueError, KeyError, OSError, StrictDataclassError) as error:
        why = " ".join(str(error).split())[:300]
        raise StageError(f"{folder / 'config.json'} is not read: {why}") from None
    new, old = dict(_flat(theirs.to_dict())), dict(_flat(ours.to_dict()))
    if new["model_type"] != old["model_type"]:  # all other fields would differ in its wake
        yield "model_type", old["model_type"], new["model_type"]
        return
    for field in sorted(new | old):
        if new.get(field) != old.get(field):
            yield field, old.get(field), new.get(field)


def _flat(config: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if key in FREE or key.startswith("_"):
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", list(value) if isinstance(value, tuple) else value


def _words(folder: Path, base: Path) -> Differences:
    from transformers import AutoTokenizer

    new, old = (
        AutoTokenizer.from_pretrained(str(at), local_files_only=True, trust_remote_code=False)
        for at in (folder, base)
    )
    theirs, ours = new.get_vocab(), old.get_vocab()
    if len(theirs) != len(ours):
        yield "the tokenizer's vocabulary size", len(ours), len(theirs)
    for word in sorted(set(ours) | set(theirs)):
        if ours.get(word) != theirs.get(word):
            yield f"the tokenizer's id of {word!r}", ours.get(word), theirs.get(word)
            break  # the others follow from it
    for name in SPECIAL:
        one, other = (getattr(words, name, None) for words in (old, new))
        if str(one) != str(other):
            yield f"the tokenizer's {name}", one, other


def _images(folder: Path, base: Path) -> Differences:
    from steps.models import load

    new, old = load.images(folder), load.images(base)
    for field in IMAGES:
        theirs, ours = (_plain(getattr(one, field, None)) for one in (new, old))
        if theirs != ours:
            yield f"the image processor's {field}", ours, theirs


def _plain(value: Any) -> Any:
    """Sizes as dictionaries and numbers as lists, of whichever class they are."""
    if hasattr(value, "items"):
        return {key: one for key, one in dict(value.items()).items() if one is not None}
    if hasattr(value, "__dict__") and vars(value):
        return {key: one for key, one in vars(value).items() if one is not None}
    return list(value) if isinstance(value, tuple) else value
