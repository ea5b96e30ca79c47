import pytest
import torch

from steps.diff import hooks
from steps.models import load


def batch(model):
    ids = torch.tensor([[5, 6, 7, 8, 9, 10], [6, 7, 5, 10, 0, 0]])
    ids = torch.cat([torch.full((2, 16), model.config.image_token_id), ids], 1)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "pixel_values": pixels}


def test_capture_is_what_the_model_calls_hidden_states_bit_for_bit(base):
    model = load.vlm(base / "instruct")
    given = batch(model)
    with torch.no_grad(), hooks.capture(model, [0, 1, 2]) as seen:
        output = model(**given, output_hidden_states=True)
    states = output.hidden_states  # embeddings, then layers; the last one behind the final norm
    assert torch.equal(seen[0], states[1])
    assert torch.equal(seen[1], states[2])
    assert torch.equal(model.get_decoder().norm(seen[2]), states[3])
    assert not torch.equal(seen[0], seen[1])


def test_capture_changes_nothing_and_leaves_nothing_behind(base):
    model = load.vlm(base / "instruct")
    given = batch(model)
    with torch.no_grad():
        plain = model(**given).logits
        with hooks.capture(model, [1]) as seen:
            hooked = model(**given).logits
        first = seen[1]
        model(**{**given, "pixel_values": -given["pixel_values"]})
    assert torch.equal(plain, hooked)
    assert seen[1] is first
    assert not any(layer._forward_hooks for layer in hooks.decoder_layers(model))


def test_stopping_early_gives_the_same_bit_for_bit(base):
    model = load.vlm(base / "instruct")
    given = batch(model)
    with torch.no_grad(), hooks.capture(model, [1]) as seen:
        model(**given)
        whole = seen[1]
        hooks.stop_after(model, 1)
        model(**given, use_cache=False, logits_to_keep=1)
    assert len(hooks.decoder_layers(model)) == 2
    assert seen[1] is not whole and torch.equal(seen[1], whole)
    for layer in (-1, 2):
        with pytest.raises(ValueError, match=f"diff.layer = {layer}.*0 to 1"):
            hooks.stop_after(model, layer)


def test_a_layer_that_is_not_there_is_named(base):
    model = load.vlm(base / "instruct")
    with pytest.raises(ValueError, match="diff.layer = 3.*0 to 2"), hooks.capture(model, [3]):
        pass
    assert not any(layer._forward_hooks for layer in hooks.decoder_layers(model))


def test_tuples_of_older_model_classes_are_unwrapped():
    class Layer(torch.nn.Module):
        def forward(self, x):
            return (x + 1, "cache")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([Layer()])

        def get_decoder(self):
            return self

        def forward(self, x):
            return self.layers[0](x)[0]

    model = Model()
    with hooks.capture(model, [0]) as seen:
        model(torch.zeros(2, 3, 4))
    assert torch.equal(seen[0], torch.ones(2, 3, 4))
