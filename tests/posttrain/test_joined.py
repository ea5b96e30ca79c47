"""A base of an encoder and a language model that others trained: joined, aligned, tuned."""

import json
from types import SimpleNamespace

import pytest
import torch

from steps.models import join, load
from steps.posttrain import joined
from steps.schema.training import Join
from steps.stage import Missing, StageError
from tests.posttrain.conftest import words

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)
LLAMA3 = "<|start_header_id|>{{ messages }}<|eot_id|>"
MARKS = ("<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def language(folder, template=CHATML, end="<|im_end|>"):
    """A causal language model with random weights that knows the questions' words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    known = ["<unk>", "<pad>", "<s>", *MARKS, *words(), "user", "assistant"]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(known))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token=end,
        additional_special_tokens=list(MARKS),
    )
    tokens.chat_template = template
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        bos_token_id=tokens.bos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


@pytest.fixture
def told(base, params, tmp_path):
    """A function: the stage's parameters, small."""

    def make(tune=2, rank=0, language_rate=1.0):
        sections = params(train={"lora": {"rank": rank, "alpha": 4.0}})
        sections.join = Join.model_validate(
            {
                "align": {"steps": 3, "learning_rate": 1e-2},
                "tune": {"steps": tune, "learning_rate": 1e-2},
                "rates": {"tower": 1.0, "projector": 1.0, "language": language_rate},
                "parts": ["projector", "language"],
            }
        )
        folders = {
            "tower": str(base / "instruct"),
            "language": str(language(tmp_path / "language")),
        }
        sections.bases = {"new": SimpleNamespace(**folders)}
        sections.run = sections.run.__class__("study", "joined", "new", threads=1)
        return sections

    return make


def states(folder):
    return load.vlm(folder).state_dict()


@pytest.mark.parametrize("rank", [0, 2])
def test_the_projector_learns_first_and_the_rest_stays(told, inputs, base, tmp_path, rank):
    out = tmp_path / "out"
    out.mkdir()
    metrics = joined.run(told(rank=rank), inputs, out)
    assert {p.name for p in out.iterdir()} == {"aligned", "instruct", "losses.json", "source.json"}
    aligned, tuned = states(out / "aligned"), states(out / "instruct")
    eye = states(base / "instruct")
    moved = {name for name in tuned if not torch.equal(aligned[name], tuned[name])}
    assert any("language_model" in name for name in moved)
    assert any("projector" in name for name in moved)
    for name in (n for n in eye if "vision_tower" in n):
        assert torch.equal(eye[name], tuned[name]), name
    assert len(json.loads((out / "losses.json").read_text())["align"]) == 3
    assert metrics["align/last/loss"] < metrics["align/first/loss"]


def test_parts_have_rates_of_their_own(told, inputs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    joined.run(told(language_rate=0.0), inputs, out)
    aligned, tuned = states(out / "aligned"), states(out / "instruct")
    moved = {name for name in tuned if not torch.equal(aligned[name], tuned[name])}
    assert moved and all("projector" in name for name in moved)


def test_without_an_image_it_speaks_as_the_language_model_does(told, inputs, tmp_path):
    from transformers import AutoModelForCausalLM

    out = tmp_path / "out"
    out.mkdir()
    sections = told(tune=0)
    joined.run(sections, inputs, out)
    alone = AutoModelForCausalLM.from_pretrained(sections.bases["new"].language).eval()
    model, processor = load.vlm(out / "instruct"), load.processor(out / "instruct")
    ids = processor.tokenizer("what color is the circle ?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        mine, theirs = model(input_ids=ids).logits, alone(ids).logits
    assert torch.equal(mine[..., : theirs.shape[-1]], theirs)
    assert load.vlm(out / "aligned").config.image_token_id == len(processor.tokenizer) - 1


def test_a_template_takes_images_and_puts_no_words_of_its_own_in(base, tmp_path):
    folder = language(tmp_path / "three", LLAMA3, "<|eot_id|>")
    _, processor = join.joined(base / "instruct", folder, 0)
    talk = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "red ?"}]}]
    text = processor.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<s><|start_header_id|>user<|end_header_id|>\n\n<image>\nred ?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_what_cannot_be_joined_is_said(base, tmp_path):
    odd = language(tmp_path / "odd", "[INST] {{ messages }} [/INST]")
    with pytest.raises(StageError, match="chat template is neither ChatML nor Llama 3's"):
        join.joined(base / "instruct", odd, 0)
    with pytest.raises(StageError, match=r"tower = .*: a llama is no vision tower"):
        join.joined(odd, odd, 0)
    with pytest.raises(Missing, match=r"language = .*: there is no config.json"):
        join.joined(base / "instruct", tmp_path / "nothing", 0)
