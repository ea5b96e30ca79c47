"""A tiny random model of each family, from its own config classes, laid out as on the hub."""

import json
from pathlib import Path

from tests.models import foreign

SIDE, PATCH = 32, 8
MARKS = {
    "llava_onevision": "<image>",
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "gemma3": "{{ '<start_of_image>' }}",
}
SPECIAL = [
    "<s>",
    "</s>",
    "<pad>",
    "<image>",
    "<|vision_start|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_end|>",
    "<start_of_image>",
    "<image_soft_token>",
    "<end_of_image>",
]
IMAGE = {"qwen2_5_vl": "<|image_pad|>", "gemma3": "<image_soft_token>"}
FAMILIES = ("llava", "llava_onevision", "qwen2_5_vl", "paligemma", "gemma3")
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
VISION |= {"num_hidden_layers": 3, "image_size": SIDE, "patch_size": PATCH}
SIGLIP = {"model_type": "siglip_vision_model", "vision_use_head": False, **VISION}
TOWERS = {
    "siglip": SIGLIP,
    "clip": {"model_type": "clip_vision_model", **VISION},
    "dinov2": {"model_type": "dinov2", "mlp_ratio": 2, **VISION},
}
LANGUAGE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
LANGUAGE |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024}
LANGUAGES = {
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "head_dim": 8},
    "llama3": {
        "model_type": "llama",
        "rope_parameters": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 512,
            "rope_theta": 500000.0,
        },
    },
    "smollm": {"model_type": "llama", "tie_word_embeddings": True},
}


KINDS = [*FAMILIES, *(f"llava-{name}" for name in (*TOWERS, *LANGUAGES))]
KINDS = [kind for kind in KINDS if kind not in ("llava-siglip", "llava-qwen2")]
"""Families, and LLaVAs by what they are joined from where that is not SigLIP and Qwen2."""


def save(kind: str, folder: Path) -> Path:
    """Save a model of a kind in `folder` and return it."""
    family, _, part = kind.partition("-")
    tower = part if part in TOWERS else "siglip"
    return _save(family, folder, tower, part if part in LANGUAGES else "qwen2")


def _save(family: str, folder: Path, tower: str, language: str) -> Path:
    import torch
    import transformers as hf

    words = tokenizer(family)
    ids = words.convert_tokens_to_ids
    text = {"vocab_size": len(words), **LANGUAGE, "pad_token_id": ids("<pad>")}
    text |= {"bos_token_id": ids("<s>"), "eos_token_id": ids("</s>")}
    image = {"image_token_id": ids(IMAGE.get(family, "<image>"))}
    if family in ("llava", "llava_onevision"):
        first = TOWERS[tower]["model_type"] != "siglip_vision_model"  # a class token
        told = {
            "vision_config": TOWERS[tower],
            "text_config": {**text, **LANGUAGES[language]},
            "vision_feature_layer": -2 if first else -1,
            "vision_feature_select_strategy": "default" if first else "full",
            **image,
        }
        if family == "llava_onevision":
            told["image_grid_pinpoints"] = [[SIDE, SIDE], [SIDE, 2 * SIDE], [2 * SIDE, SIDE]]
        name = {"llava": "Llava", "llava_onevision": "LlavaOnevision"}[family]
    elif family == "paligemma":
        name, gemma = "PaliGemma", {"model_type": "gemma", "head_dim": 8, **text}
        told = {"vision_config": SIGLIP, "text_config": gemma, "projection_dim": 32, **image}
        told["hidden_size"] = 32
    elif family == "gemma3":
        name = "Gemma3"
        kinds = ["sliding_attention", "full_attention"]
        gemma = {"head_dim": 8, "sliding_window": 512, "layer_types": kinds, **text}
        told = {"vision_config": SIGLIP, "text_config": gemma, "mm_tokens_per_image": 4, **image}
        told |= {"boi_token_id": ids("<start_of_image>"), "eoi_token_id": ids("<end_of_image>")}
    else:
        name = "Qwen2_5_VL"
        rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
        eye = {"depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}
        eye |= {"patch_size": PATCH, "window_size": 32, "fullatt_block_indexes": [1]}
        told = {"vision_config": {**eye, "out_hidden_size": 32}, **image}
        told["text_config"] = {**text, "rope_parameters": rope}
        told |= {"vision_start_token_id": ids("<|vision_start|>")}
        told |= {"vision_end_token_id": ids("<|vision_end|>")}
        told |= {"video_token_id": ids("<|video_pad|>")}
    torch.manual_seed(0)
    model = getattr(hf, f"{name}ForConditionalGeneration")(getattr(hf, f"{name}Config")(**told))
    with torch.no_grad():  # louder than weights are drawn; Gemma 3's projector starts at zero
        model.get_output_embeddings().weight.mul_(5)
        for weights in model.model.parameters():
            if not weights.any():
                weights.normal_(std=0.1)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    _images(family, folder, tower)
    return folder


def _images(family: str, folder: Path, tower: str) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    square = {"size": {"height": SIDE, "width": SIDE}}
    if family == "llava":
        siglip = TOWERS[tower]["model_type"] == "siglip_vision_model"
        crop = {"size": {"shortest_edge": SIDE}, "crop_size": square["size"]}
        found = SiglipImageProcessorPil(**square) if siglip else CLIPImageProcessorPil(**crop)
        told = {"processor_class": "LlavaProcessor", "image_token": "<image>", "patch_size": PATCH}
        told["vision_feature_select_strategy"] = "full" if siglip else "default"
        (folder / "processor_config.json").write_text(json.dumps(told))
    elif family == "llava_onevision":
        pinpoints = [[SIDE, SIDE], [SIDE, 2 * SIDE], [2 * SIDE, SIDE]]
        found = LlavaOnevisionImageProcessorPil(image_grid_pinpoints=pinpoints, **square)
    elif family == "qwen2_5_vl":
        edges = {"shortest_edge": SIDE**2, "longest_edge": (2 * SIDE) ** 2}
        found = Qwen2VLImageProcessorPil(patch_size=PATCH, size=edges)
    elif family == "gemma3":
        found = Gemma3ImageProcessorPil(**square)
    else:
        found = SiglipImageProcessorPil(**square)
    found.save_pretrained(folder)


def tokenizer(family: str):
    """A byte-level tokenizer with every family's marks and, but for PaliGemma, a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(["what color is the circle ? red green blue"], trainer)
    words = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    if family == "gemma3":
        marks = {"boi": "<start_of_image>", "eoi": "<end_of_image>", "image": "<image_soft_token>"}
        words = PreTrainedTokenizerFast(
            tokenizer_object=raw,
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            extra_special_tokens={f"{name}_token": mark for name, mark in marks.items()},
        )
    if family != "paligemma":
        words.chat_template = foreign.TEMPLATE.replace("<image>", MARKS.get(family, "<image>"))
    return words
