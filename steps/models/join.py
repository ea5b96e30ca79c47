"""A LLaVA put together of a vision tower, a language model and a fresh two-layer projector.

So LLaVA begins (Liu et al. 2023, 2304.08485), and so do the papers' studies: the parts are what
others trained, the projector knows nothing yet.
"""

from pathlib import Path
from typing import Any

from steps.models import load
from steps.stage import Missing, StageError

IMAGE = "<image>"
TEMPLATES = {
    "<|im_start|>": "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "PARTS<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "<|start_header_id|>": "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\nPARTS<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
}
"""Chat templates by a mark of the language model's own (ChatML: Qwen, SmolLM; Llama 3), which take
turns of text and images. No system prompt is put in front."""
PARTS = (
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}" + IMAGE + "\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
)


def joined(tower: Path, language: Path, seed: int) -> tuple[Any, Any]:
    """The new model, float32, and its processor.

    tower: a folder with a LLaVA, whose tower is taken as its projector reads it, or with a vision
    tower of its own. language: a folder with a causal language model and its tokenizer. seed: of
    the projector's weights. Raises StageError for what cannot be joined.
    """
    import torch
    from transformers import LlavaForConditionalGeneration

    layer, strategy = _read(tower)
    eye, (model, words) = _tower(tower), _language(language)
    config = _config(eye.config, model.config, layer, strategy)
    config.image_token_id = words.convert_tokens_to_ids(IMAGE)
    with torch.device("meta"):  # its parts are here already
        whole = LlavaForConditionalGeneration(config)
    whole.model.vision_tower, whole.model.multi_modal_projector = eye, fresh(config, seed)
    whole.model.language_model, whole.lm_head = model.model, model.lm_head
    whole.generation_config = model.generation_config
    return whole.eval(), _processor(tower, eye, strategy, words)


def fresh(config: Any, seed: int) -> Any:
    """A projector for a LlavaConfig, with the weights that Hugging Face starts a new one with."""
    import torch
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    torch.manual_seed(seed)
    projector = LlavaMultiModalProjector(config)
    for part in (projector.linear_1, projector.linear_2):
        torch.nn.init.normal_(part.weight, std=config.text_config.initializer_range)
        torch.nn.init.zeros_(part.bias)
    return projector


def configured(own: Any, text: Any, tower: Path) -> Any:
    """The configuration of what `joined` would make, from those of its parts; no weights.

    own: of a tower, or of a model that has one. text: of a language model. tower: what the first
    is called in an error.
    """
    return _config(getattr(own, "vision_config", own), text, *_reads(own, tower))


def _config(eye: Any, text: Any, layer: int, strategy: str) -> Any:
    from transformers import LlavaConfig

    return LlavaConfig(
        vision_config=eye,
        text_config=text,
        image_seq_length=(eye.image_size // eye.patch_size) ** 2,
        vision_feature_layer=layer,
        vision_feature_select_strategy=strategy,
        tie_word_embeddings=text.tie_word_embeddings,
    )


def _read(folder: Path) -> tuple[int, str]:
    """The layer of a tower that a projector reads, and LLaVA's name for which of its tokens."""
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise Missing(f"tower = {str(folder)!r}: there is no config.json; give a model's folder")
    return _reads(AutoConfig.from_pretrained(folder, local_files_only=True), folder)


def _reads(own: Any, folder: Path) -> tuple[int, str]:
    if own.model_type == "llava":
        return own.vision_feature_layer, own.vision_feature_select_strategy
    vision = getattr(own, "vision_config", own)
    if not hasattr(vision, "patch_size") or not isinstance(vision.image_size, int):
        raise StageError(f"tower = {str(folder)!r}: a {own.model_type} is no vision tower")
    if "siglip" in own.model_type:
        return -1, "full"
    return -2, "default"  # CLIP and DINO have a class token, which LLaVA leaves out


def _tower(folder: Path) -> Any:
    import torch
    from transformers import AutoConfig, AutoModel

    kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    if kind == "llava":
        return load.vlm(folder).model.vision_tower
    model = AutoModel.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    return getattr(model, "vision_model", model) if kind in ("siglip", "clip") else model


def _language(folder: Path) -> tuple[Any, Any]:
    """A causal language model with an entry for images, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (folder / "config.json").is_file():
        raise Missing(f"language = {str(folder)!r}: there is no config.json; give a model's folder")
    words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    mark = next((m for m in TEMPLATES if m in (words.chat_template or "")), None)
    if mark is None:
        raise StageError(
            f"language = {str(folder)!r}: its chat template is neither ChatML nor Llama 3's; give "
            "an instruct model that has one of them"
        )
    words.chat_template = TEMPLATES[mark].replace("PARTS", PARTS)
    words.add_tokens([IMAGE], special_tokens=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    if len(words) > model.config.vocab_size:
        model.resize_token_embeddings(len(words), mean_resizing=False)
    return model, words


def _processor(folder: Path, eye: Any, strategy: str, words: Any) -> Any:
    from transformers import LlavaProcessor

    return LlavaProcessor(
        image_processor=load.images(folder),
        tokenizer=words,
        patch_size=eye.config.patch_size,
        vision_feature_select_strategy=strategy,
        chat_template=words.chat_template,
        image_token=IMAGE,
        num_additional_image_tokens=int(strategy == "default"),
    )
