"""Attention on the image: as eager attention has it, for what rows, heads and keys are asked."""

import pytest
import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration, Qwen2Config, SiglipVisionConfig

from steps.models.connectivity import CELLS, watched
from steps.stage import StageError

IMAGE, PROMPT, ANSWER = 40, 24, 7


@pytest.fixture(scope="module")
def model():
    """A random LLaVA of 3 layers, 8 query heads on 2 key heads, 16 image tokens."""
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(
            image_size=16,
            patch_size=4,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            vision_use_head=False,
        ),
        text_config=Qwen2Config(
            vocab_size=48,
            hidden_size=64,
            intermediate_size=32,
            num_hidden_layers=3,
            num_attention_heads=8,
            num_key_value_heads=2,
            initializer_range=0.2,
        ),
        image_token_index=IMAGE,
        image_seq_length=16,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return LlavaForConditionalGeneration(config).eval()


@pytest.fixture(scope="module")
def batch():
    """Three prompts, padded on the left, and answers, padded on the right."""
    torch.manual_seed(1)
    ids = torch.randint(1, 39, (3, PROMPT + ANSWER))
    mask = torch.ones_like(ids)
    for row, start in enumerate((0, 2, 5)):
        mask[row, :start], ids[row, :start] = 0, 0
        ids[row, start + 2 : start + 18] = IMAGE
    mask[1, -3:], ids[1, -3:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask, "pixel_values": torch.randn(3, 3, 16, 16)}


def look(model, batch, layers=(0, 2), **options):
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad(), watched(model, ids, mask, ANSWER, layers, **options) as watch:
        logits = model(**batch).logits
    return watch.connectivity(), logits


def eager(model, batch, layers=(0, 2), heads=None):
    """Attention of the rows that predict the answer, [layers, B, heads, T, L], and image keys."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        paid = model(**batch, output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    rows = torch.stack([paid[layer] for layer in layers])[..., PROMPT - 1 : -1, :]
    rows = rows if heads is None else rows[:, :, list(heads)]
    return rows, (batch["input_ids"] == IMAGE)


@pytest.mark.parametrize("heads", [None, (0, 3, 5)])
@pytest.mark.parametrize("budget", [1, 2**24])
def test_mass_is_eager_attention(model, batch, heads, budget, monkeypatch):
    monkeypatch.setattr("steps.models.connectivity.BUDGET", budget)
    found, _ = look(model, batch, heads=heads)
    rows, image = eager(model, batch, heads=heads)
    mass = (rows * image[:, None, None]).sum(-1).mean((0, 2))
    real = batch["attention_mask"][:, PROMPT:].bool()
    assert (found.mass - mass)[real].abs().max() < 1e-5
    torch.testing.assert_close(found.pattern.sum(-1), found.mass)


def test_a_pattern_is_where_attention_falls(model, batch):
    """16 image tokens in a square are the 16 cells, in reading order."""
    found, _ = look(model, batch, layers=(1,))
    rows, _ = eager(model, batch, layers=(1,))
    for b, start in enumerate((0, 2, 5)):
        cells = rows[0, b, :, :, start + 2 : start + 18].mean(0)
        torch.testing.assert_close(found.pattern[b], cells, atol=1e-5, rtol=0)
    assert found.pattern.shape == (3, ANSWER, CELLS)


def test_sinks_are_left_out_and_the_rest_sums_to_one(model, batch):
    rows, image = eager(model, batch)
    first = torch.zeros_like(rows[0, :, 0, 0], dtype=torch.bool)
    for b, start in enumerate((0, 2, 5)):
        first[b, start] = True
    kept = rows.masked_fill(first[:, None, None], 0)
    kept = kept / kept.sum(-1, keepdim=True)
    found, _ = look(model, batch, sinks="first")
    torch.testing.assert_close(
        found.mass, (kept * image[:, None, None]).sum(-1).mean((0, 2)), atol=1e-5, rtol=0
    )


def test_an_image_token_that_all_words_look_at_is_a_sink(model, batch):
    """One key made a sink by hand: `image` leaves it out, and attends as if it were not there."""
    from steps.models.connectivity import Watch

    torch.manual_seed(2)
    ids, mask = batch["input_ids"], batch["attention_mask"].bool()
    query, key = torch.randn(3, 2, ids.shape[1], 4), 0.1 * torch.randn(3, 2, ids.shape[1], 4)
    query[..., 0] = 4.0
    key[0, :, 6, 0] = 8.0  # an image token of the first sequence
    found, without = (
        Watch(ids == IMAGE, m, ANSWER, None, s)
        for m, s in ((mask, "image"), (mask.index_fill(1, torch.tensor([6]), False), "keep"))
    )
    for watch in (found, without):
        watch.read(query, key, 1.0)
    one, other = found.connectivity().mass[0], without.connectivity().mass[0]
    torch.testing.assert_close(one, other)


def test_logits_do_not_change_and_nothing_stays_behind(model, batch):
    with torch.no_grad():
        plain = model(**batch).logits
    _, logits = look(model, batch)
    assert torch.equal(logits, plain)
    assert model.get_decoder().config._attn_implementation == "sdpa"
    assert not any(hasattr(m, "watch") for m in model.modules())
    with pytest.raises(KeyError):
        with watched(model, batch["input_ids"], batch["attention_mask"], ANSWER, (0,)):
            raise KeyError
    assert not any(hasattr(m, "watch") for m in model.modules())


def test_even_attention_has_an_enrichment_of_one(model, batch):
    """Queries of zero attend to all visible keys alike: mass is the image's share of them."""
    for layer in model.get_decoder().layers:
        layer.self_attn.q_proj.weight.data.zero_()
        layer.self_attn.q_proj.bias.data.zero_()
    found, _ = look(model, batch)
    torch.testing.assert_close(found.enrichment, torch.ones_like(found.mass))
    seen = torch.tensor([PROMPT, PROMPT - 2, PROMPT - 5])
    torch.testing.assert_close(found.visible[:, 0], 16 / seen)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"layers": (3,)}, "layers 0 to 2"), ({"layers": ()}, "layers"), ({"heads": (8,)}, "0 to 7")],
)
def test_layers_and_heads_that_are_not_there(model, batch, options, said):
    with pytest.raises(StageError, match=said):
        look(model, batch, **options)
