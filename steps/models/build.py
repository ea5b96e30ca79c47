"""The bundled model's architecture: a SigLIP tower, a two-layer MLP and a Qwen2 decoder, as LLaVA.

Sizes come from the `recipe.model` section of params.yaml; everything is a Hugging Face class.
"""

from typing import Any

from steps.models.tokenizer import BOS, EOS, IMAGE, PAD, SPECIAL, tokenizer


def config(sizes, canvas: int, patch: int, words: list[str]) -> Any:
    """LlavaConfig for a `recipe.model` section and a vocabulary.

    The tower is read at its last block's output (`vision_feature_layer=-1`), all tokens: SigLIP
    has no class token. That is before `post_layernorm`, which therefore gets no gradient.
    """
    from transformers import LlavaConfig, Qwen2Config, SiglipVisionConfig

    ids = {w: i for i, w in enumerate(SPECIAL)}
    vision = SiglipVisionConfig(
        hidden_size=sizes.tower_width,
        intermediate_size=4 * sizes.tower_width,
        num_hidden_layers=sizes.tower_layers,
        num_attention_heads=sizes.tower_heads,
        image_size=canvas,
        patch_size=patch,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=len(SPECIAL) + len(words),
        hidden_size=sizes.width,
        intermediate_size=sizes.feed_forward,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        use_sliding_window=False,
        pad_token_id=ids[PAD],
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=ids[IMAGE],
        image_seq_length=(canvas // patch) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        projector_hidden_act="gelu",
        tie_word_embeddings=True,
        pad_token_id=ids[PAD],
    )


WORDS = 10
"""How much larger word embeddings start than Qwen2's 0.02: Muon's steps soon give every layer an
output of about unit size, beside which words of that size are lost. After 100 steps 61 % of answers
about 50 stories were right so, and 46 % without (one run each)."""


def vlm(cfg, seed: int) -> Any:
    """A LLaVA with random weights, float32."""
    import torch
    from transformers import LlavaForConditionalGeneration

    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(cfg).float()
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(WORDS)
    text = cfg.text_config
    gen = model.generation_config
    gen.pad_token_id, gen.bos_token_id, gen.eos_token_id = (
        text.pad_token_id,
        text.bos_token_id,
        text.eos_token_id,
    )
    gen.suppress_tokens = [cfg.image_token_id, text.pad_token_id, text.bos_token_id]
    return model


def processor(canvas: int, patch: int, words: list[str]) -> Any:
    """The LlavaProcessor that goes with `config`: pixels to [-1, 1], no resizing at canvas size."""
    from transformers import LlavaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    tok = tokenizer(words)
    return LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": canvas, "width": canvas}),
        tokenizer=tok,
        patch_size=patch,
        vision_feature_select_strategy="full",
        chat_template=tok.chat_template,
        image_token=IMAGE,
        num_additional_image_tokens=0,
    )
