"""Draws that share one pass over the prompt are what each would be alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from steps.models.sample import prompts, sample


@pytest.fixture(scope="module")
def asked(processor):
    """Three questions of unequal length about three images."""
    texts = ["what color is it ?", "what color ?", "in a word . what color is it ?"]
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)) for _ in texts]
    pixels = processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
    return prompts(processor, 4, texts, ["", "red green", ""]), pixels, processor, texts, images


def test_prompts_are_the_processors_own(asked):
    batch, _, processor, texts, images = asked
    for row, mask, text, image, start in zip(
        batch["input_ids"],
        batch["attention_mask"],
        texts,
        images,
        ["", "red green", ""],
        strict=True,
    ):
        talk = [
            {
                "role": "user",
                "content": [{"type": "image", "image": image}, {"type": "text", "text": text}],
            }
        ]
        whole = processor.apply_chat_template(
            [talk], add_generation_prompt=True, tokenize=True, return_dict=True
        )["input_ids"][0]
        whole = list(whole) + processor.tokenizer(start)["input_ids"]
        assert row[mask == 1].tolist() == whole


def test_the_likeliest_words_are_those_of_generate(model, asked):
    batch, pixels, *_ = asked
    drawn = sample(model, batch, pixels, 3, 6, 1e-6, torch.Generator().manual_seed(0)).words
    with torch.no_grad():
        whole = model.generate(**batch, pixel_values=pixels, max_new_tokens=6, do_sample=False)
    greedy = whole[:, batch["input_ids"].shape[1] :].numpy()
    for d in range(3):
        assert (drawn[:, d, : greedy.shape[1]] == greedy).all()


def test_draws_have_the_chances_that_the_model_gives(model, asked):
    """The first two words' frequencies against the exact ones, each draw on its own path."""
    batch, pixels, *_ = asked
    one = {k: v[:1] for k, v in batch.items()}
    never = [model.config.image_token_id, *model.generation_config.suppress_tokens]
    draws = 3000
    drawn = sample(model, one, pixels[:1], draws, 2, 1.0, torch.Generator().manual_seed(0))
    likely, drawn = drawn.logps[0], drawn.words[0]

    def chances(ids):
        mask = torch.ones_like(ids)
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask, pixel_values=pixels[:1]).logits
        logits[..., never] = -torch.inf
        return logits[0, -1].softmax(-1).numpy()

    prompt = one["input_ids"][:, one["attention_mask"][0] == 1]
    first = chances(prompt)
    with torch.no_grad():
        whole = model(input_ids=prompt, pixel_values=pixels[:1]).logits[0, -1].log_softmax(-1)
    np.testing.assert_allclose(likely[:, 0], whole.numpy()[drawn[:, 0]], atol=1e-5)
    found = np.bincount(drawn[:, 0], minlength=len(first)) / draws
    assert abs(found - first).max() < 4 * np.sqrt(0.25 / draws)
    word = next(w for w in np.argsort(-first) if w != model.config.text_config.eos_token_id)
    second = chances(torch.cat([prompt, torch.tensor([[word]])], 1))
    some = drawn[drawn[:, 0] == word, 1]
    assert len(some) > 100
    found = np.bincount(some, minlength=len(second)) / len(some)
    assert abs(found - second).max() < 4 * np.sqrt(0.25 / len(some))


def test_nothing_follows_an_end_and_placeholders_never_come(model, asked):
    batch, pixels, *_ = asked
    rules = model.generation_config
    drawn = sample(model, batch, pixels, 60, 8, 3.0, torch.Generator().manual_seed(1)).words
    assert drawn.shape == (3, 60, 8)
    ended = 0
    for row in drawn.reshape(-1, 8):
        at = np.flatnonzero(row == rules.eos_token_id)
        words = row[: at[0]] if len(at) else row
        ended += bool(len(at))
        assert not np.isin(words, [model.config.image_token_id, *rules.suppress_tokens]).any()
        assert (row[at[0] + 1 :] == rules.pad_token_id).all() if len(at) else True
    assert 0 < ended < 180
    again = sample(model, batch, pixels, 60, 8, 3.0, torch.Generator().manual_seed(1)).words
    assert (again == drawn).all()
