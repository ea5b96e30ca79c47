"""The extracted folder opens by Hugging Face's own classes and gives the VLM's own features."""

import json

import numpy as np
import pytest
import torch

from steps.encoder import extract, tower
from steps.models import load


@pytest.fixture
def images():
    return np.random.default_rng(3).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize("layer", [-1, -2])
def test_features_inside_and_outside_are_equal_bit_for_bit(tiny, layer, section, images, tmp_path):
    from transformers import AutoImageProcessor, AutoModel

    folder = tiny(layer)
    section.extract.layer = layer
    metrics = extract.run(section, {"model": folder}, tmp_path)
    assert metrics["extract/blocks"] == 4 + layer

    vlm, seen = load.vlm(folder), []
    prompt = torch.tensor([[vlm.config.image_token_id] * 64] * 3)
    pixels = load.processor(folder).image_processor(list(images), return_tensors="pt").pixel_values
    vlm.model.multi_modal_projector.register_forward_hook(lambda _, i, o: seen.append((i[0], o)))
    with torch.no_grad():
        vlm(input_ids=prompt, pixel_values=pixels)  # the whole way, as training and answering go
        eye = AutoModel.from_pretrained(tmp_path, local_files_only=True)
        given = AutoImageProcessor.from_pretrained(tmp_path, local_files_only=True)(
            list(images), return_tensors="pt"
        )
        told = eye(**given)
        own, head, _ = tower.load(tmp_path)
        assert torch.equal(told.hidden_states[-1], seen[0][0])
        assert torch.equal(tower.read(own, given["pixel_values"]), seen[0][0])
        assert torch.equal(head(told.hidden_states[-1]), seen[0][1])
        assert not torch.equal(told.last_hidden_state, seen[0][0])  # what the card warns of


def test_card_and_layout(model, section, tmp_path):
    extract.run(section, {"model": model}, tmp_path)
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {
        "config.json", "model.safetensors", "preprocessor_config.json", "README.md",
        "projector.safetensors", "projector_config.json",
    }  # fmt: skip
    card = (tmp_path / "README.md").read_text()
    assert "t/b/sft/seed0" in card
    reached = next(line for line in card.splitlines() if line.startswith("| reached"))
    assert "`embeddings`" in reached and "`encoder.layers.2`" in reached
    assert "`multi_modal_projector`" in reached and "post_layernorm" not in reached
    carried = next(line for line in card.splitlines() if line.startswith("| carried"))
    assert carried.endswith("| `post_layernorm` |")
    assert json.loads((tmp_path / "config.json").read_text())["num_hidden_layers"] == 3


def test_gradient_reaches_only_what_is_read(tiny):
    vlm = load.vlm(tiny(-2))
    reached, unreached = extract.gradient(vlm, torch.randn(1, 3, 64, 64))
    assert not any("layers.2" in n or "post_layernorm" in n for n in reached)
    assert any("layers.2" in n for n in unreached)


def test_a_difference_is_told(model, section, tmp_path):
    from safetensors.torch import load_file, save_file

    extract.run(section, {"model": model}, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.layers.1.mlp.fc1.bias"][0] += 1e-3
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RuntimeError, match="tower: features .* differ"):
        extract.compare(load.vlm(model), tmp_path, torch.randn(2, 3, 64, 64), -1)


def test_other_layers(model, section, tmp_path):
    section.extract.layer = 1
    with pytest.raises(ValueError, match=r"extract.layer is 1, but .* reads layer -1"):
        extract.run(section, {"model": model}, tmp_path)
    section.extract.projector = False
    metrics = extract.run(section, {"model": model}, tmp_path)
    assert metrics["extract/blocks_dropped"] == 2
    own, head, _ = tower.load(tmp_path)
    assert head is None and len(own.encoder.layers) == 1
    section.extract.layer = -5
    with pytest.raises(ValueError, match="layer -5 is not one of the tower's 3 blocks"):
        extract.run(section, {"model": model}, tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="stage `extract`"):
        tower.load(tmp_path)
