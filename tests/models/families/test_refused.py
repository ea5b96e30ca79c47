"""An adapter adds what the family's own class and processor say, and refuses what cannot be."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from steps import manifest
from steps.models import families, hub, load, sample
from steps.models.look import square
from steps.stage import StageError
from tests.models.families import tiny


@pytest.fixture(scope="module")
def opened(there):
    """A function: the folder, model and processor of a family, straight from the hub's layout."""

    def make(kind):
        folder = there(kind)
        return folder, load.vlm(folder), load.processor(folder)

    return make


def stock(folder, kind):
    return getattr(transformers, families.FAMILIES[kind].CLASS).from_pretrained(folder).eval()


@pytest.mark.parametrize("kind", ["paligemma", "gemma3"])
def test_text_and_pixels_are_those_of_the_familys_own_processor(opened, kind):
    folder, model, processor = opened(kind)
    pieces = {"image_processor": processor.image_processor, "tokenizer": processor.tokenizer}
    count = model.config.image_seq_length
    if kind == "paligemma":
        processor.image_processor.image_seq_length = count
        own, text = transformers.PaliGemmaProcessor(**pieces), "<image>what color ?"
    else:
        own = transformers.Gemma3Processor(**pieces, image_seq_length=count)
        text = "USER: <start_of_image>\nwhat color ? ASSISTANT:"
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8))
    wanted = own(text=text, images=picture, return_tensors="pt", add_special_tokens=False)
    asked = sample.prompts(processor, count, ["what color ?"], [""])
    assert asked["input_ids"].tolist() == wanted["input_ids"].tolist()
    seen = load.reader(processor.image_processor)(np.asarray(picture)[None])
    assert torch.equal(seen, wanted["pixel_values"])


@pytest.mark.parametrize("kind", ["llava_onevision", "qwen2_5_vl", "paligemma", "gemma3"])
def test_logits_are_those_of_the_familys_own_class(opened, kind, pictures):
    """Its class is given by hand what its own processor would give it."""
    folder, model, processor = opened(kind)
    asked = sample.prompts(processor, model.config.image_seq_length, ["what color ?"], [""])
    ids, pixels = asked["input_ids"], load.reader(processor.image_processor)(pictures[:1])
    image = (ids == model.config.image_token_id).long()
    side = tiny.SIDE
    by_hand = {
        "llava_onevision": {"pixel_values": pixels, "image_sizes": torch.tensor([[side, side]])},
        "qwen2_5_vl": {
            "pixel_values": pixels[0],
            "image_grid_thw": torch.tensor([[1, 8, 8]]),
            "mm_token_type_ids": image,
        },
        "paligemma": {"pixel_values": pixels, "token_type_ids": torch.zeros_like(ids)},
        "gemma3": {"pixel_values": pixels, "token_type_ids": image},
    }[kind]
    with torch.no_grad():
        wanted = stock(folder, kind)(**asked, **by_hand).logits
        assert torch.equal(model(**asked, pixel_values=pixels).logits, wanted)


def test_an_answer_of_paligemma_is_seen_word_by_word(opened, pictures):
    """A later word of the answer changes nothing before it; one of the question does."""
    _, model, processor = opened("paligemma")
    asked = sample.prompts(processor, model.config.image_seq_length, ["what color ?"], [""])
    ids = torch.cat([asked["input_ids"], torch.tensor([[20, 21, 22]])], 1)
    pixels, end = load.reader(processor.image_processor)(pictures[:1]), asked["input_ids"].shape[1]
    later, earlier = ids.clone(), ids.clone()
    later[0, -1], earlier[0, end - 2] = 30, 30
    with torch.no_grad():
        one, two, three = (
            model(input_ids=i, attention_mask=torch.ones_like(i), pixel_values=pixels).logits[0]
            for i in (ids, later, earlier)
        )
    torch.testing.assert_close(one[:-1], two[:-1], atol=1e-5, rtol=1e-5)
    assert (one[end - 5] - three[end - 5]).abs().max() > 1e-5


def test_patches_of_qwen_are_in_reading_order(opened):
    """With nothing in its blocks, a patch's token is its own patch's alone, at its own place."""
    _, model, processor = opened("qwen2_5_vl")
    family, tower = families.of(model), model.model.visual
    for block in tower.blocks:
        block.forward = lambda hidden_states, **_: hidden_states
    gray = np.full((1, tiny.SIDE * 2, tiny.SIDE * 2, 3), 90, np.uint8)
    read = load.reader(processor.image_processor)
    with torch.no_grad():
        plain = family.inside(model, read(gray))[0]
        for row, column in ((0, 0), (0, 5), (3, 2), (7, 7)):
            lit = gray.copy()
            lit[0, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = 250
            changed = (family.inside(model, read(lit))[0] - plain).norm(dim=-1)[0]
            assert int(changed.argmax()) == row * 8 + column


def spoil(there, tmp_path, kind, **change):
    folder = shutil.copytree(there(kind), tmp_path / kind)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(told | change))
    return folder


def refused(folder, tmp_path, said):
    with pytest.raises(StageError, match=said) as error:
        hub.take(str(folder), None, tmp_path / "base" / "instruct")
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("kind", tiny.FAMILIES)
def test_code_from_outside_is_refused(there, tmp_path, kind):
    folder = spoil(there, tmp_path, kind, auto_map={"AutoModel": "modeling.Mine"})
    (folder / "modeling.py").write_text("raise SystemExit('ran')")
    refused(folder, tmp_path, "auto_map")
    with pytest.raises(StageError, match="auto_map"):
        load.vlm(folder)


@pytest.mark.parametrize("other", ["idefics3", "someones_own"])
def test_another_family_is_refused(there, tmp_path, other):
    folder = spoil(there, tmp_path, "gemma3", model_type=other)
    refused(folder, tmp_path, f"is of type '{other}': give one of model_type llava, ")
    with pytest.raises(StageError, match=f"is of type '{other}'"):
        load.vlm(folder)


@pytest.mark.parametrize("kind", tiny.FAMILIES)
def test_a_tokenizer_without_the_image_token_is_refused(there, tmp_path, kind):
    name = "image_token_index" if kind.startswith(("llava", "pali")) else "image_token_id"
    folder = spoil(there, tmp_path, kind, **{name: 9999, "image_token_id": 9999})
    refused(folder, tmp_path, "9999.*set image_token_id")


@pytest.mark.parametrize("kind", tiny.FAMILIES)
def test_weights_that_are_cut_off_are_refused(there, tmp_path, kind):
    folder = spoil(there, tmp_path, kind)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(manifest.Damaged, match="put the weights in place again") as error:
        hub.take(str(folder), None, tmp_path / "base" / "instruct")
    assert str(weights) in str(error.value)


@pytest.mark.parametrize("kind", ["paligemma", "gemma3"])
def test_images_of_another_size_than_the_towers_are_refused(there, tmp_path, kind):
    folder = spoil(there, tmp_path, kind)
    told = json.loads((folder / "preprocessor_config.json").read_text())
    told["size"] = {"height": 64, "width": 64}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    with pytest.raises(StageError, match="preprocessor_config.json resizes images"):
        load.vlm(folder)


def test_image_tokens_that_are_no_grid_have_no_places(opened):
    """OneVision's 36 here would make a square, but they are two images and marks."""
    _, model, _ = opened("llava_onevision")
    assert model.config.image_seq_length == 36
    with pytest.raises(StageError, match="no token's place is known: leave gaze out"):
        square(model, "gaze")


def test_what_reads_llava_alone_says_so(opened):
    _, model, _ = opened("qwen2_5_vl")
    with pytest.raises(StageError, match="of type 'qwen2_5_vl' cannot be read by localise"):
        families.only(model, "localise")
