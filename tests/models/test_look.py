"""Images read once give what a whole pass over image and question gives."""

import numpy as np
import pytest
import torch

from steps.models import load
from steps.models.look import Looked, overlap
from steps.models.sample import prompts

TEXTS = ["what color is it ?", "what color ?", "in a word . what color is it ?", "it ?"]
BEGUN = ["", "red green", "", "blue"]


@pytest.fixture(scope="module")
def pictures():
    """Four images, two of which are equal."""
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    images[2] = images[0]
    return images


def test_logits_are_those_of_a_whole_pass(model, processor, pictures):
    seen = Looked(model, processor, pictures)
    asked = seen.asked(TEXTS, BEGUN)
    for rows in (np.arange(4), np.array([1, 0])):
        some = {name: part[: len(rows)] for name, part in asked.items()}
        found = seen.logits(some, rows, 2)  # twice: a pass leaves nothing behind
        for i, row in enumerate(rows):
            alone = prompts(processor, 4, [TEXTS[i]], [BEGUN[i]])
            with torch.no_grad():
                whole = model(**alone, pixel_values=load.pixels(pictures[[row]])).logits[0, -2:]
            torch.testing.assert_close(found[i], whole, atol=1e-5, rtol=0)
    other = seen.logits(asked, np.array([1, 0, 3, 2]), 1)
    assert (other - seen.logits(asked, np.arange(4), 1)).abs().max() > 1e-3


def test_answers_are_those_of_generate(model, processor, pictures):
    said = Looked(model, processor, pictures).answers(TEXTS, 6)
    for text, picture, answer in zip(TEXTS, pictures, said, strict=True):
        alone = prompts(processor, 4, [text], [""])
        with torch.no_grad():
            ids = model.generate(
                **alone,
                pixel_values=load.pixels(picture[None]),
                do_sample=False,
                max_new_tokens=6,
            )
        whole = processor.tokenizer.decode(
            ids[0, alone["input_ids"].shape[1] :], skip_special_tokens=True
        )
        assert answer == whole.strip()


def test_equal_images_are_read_once(model, processor, pictures):
    read = []
    hook = model.model.vision_tower.register_forward_pre_hook(
        lambda _, args, named: read.append(len(named.get("pixel_values", args and args[0]))),
        with_kwargs=True,
    )
    Looked(model, processor, pictures)
    hook.remove()
    assert read == [3]


def test_overlap_by_hand():
    found = overlap([[4.0, 8.0, 16.0, 12.0]], 4, 32).reshape(4, 4)
    assert found.tolist() == [[0] * 4, [0.25, 0.5, 0, 0], [0] * 4, [0] * 4]
    two = overlap([[0, 0, 8, 8], [0, 0, 16, 4], [30, 30, 99, 99]], 4, 32).reshape(4, 4)
    assert two[0].tolist() == [1, 0.5, 0, 0] and two[3, 3] == 4 / 64
    assert overlap([], 4, 32).tolist() == [0] * 16
