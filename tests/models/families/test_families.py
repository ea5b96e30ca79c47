"""Every family, and LLaVA with each tower and language model, does what a study asks of a model."""

import json
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps.diff import hooks
from steps.encoder import extract
from steps.encoder import tower as towers
from steps.models import families, load, sample
from steps.models.connectivity import watched
from steps.models.look import Looked
from steps.params import Run
from steps.stage import StageError
from tests.posttrain.conftest import settings

TEXTS = ["what color is it ?", "what color ?", "is the circle red or blue ?"]


def batch(model, processor, pictures, texts=TEXTS):
    asked = sample.prompts(processor, model.config.image_seq_length, texts, [""] * len(texts))
    return {**asked, "pixel_values": load.reader(processor.image_processor)(pictures)}


def test_modules_have_the_same_names():
    for family in families.FAMILIES.values():
        assert [name for name in families.NAMES if not hasattr(family, name)] == []


def test_forward(model, processor, pictures):
    """An image's tokens are counted right, and what is said depends on each image alone."""
    shown = batch(model, processor, pictures)
    marks = (shown["input_ids"] == model.config.image_token_id).sum(1)
    assert marks.tolist() == [model.config.image_seq_length] * 3
    with torch.no_grad():
        logits = model(**shown).logits
        alone = model(**{name: part[:1] for name, part in shown.items()}).logits
        other = model(**{**shown, "pixel_values": shown["pixel_values"].flip(0)}).logits
    torch.testing.assert_close(logits[:1], alone, atol=1e-4, rtol=1e-4)
    assert (logits[0, -1] - other[0, -1]).abs().max() > 1e-4
    assert torch.equal(logits[1], other[1])  # the one in the middle kept its image


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
def test_training(base, questions, tmp_path, method):
    """A few steps of a stage move every parameter that a gradient reaches, and no other."""
    few = {"steps": 1, "generations": 4, "prompts": 2, "micro_batch": 8, "max_tokens": 4}
    told = settings(grpo=few)
    reward = import_module("steps.posttrain.rewards")
    out = tmp_path / "out"
    out.mkdir()
    stage = import_module(f"steps.posttrain.{method}")
    with pytest.MonkeyPatch.context() as patch:
        # a random model is never right: what varies is rewarded here
        def varied(completions, **_):
            return [float(len(str(c)) % 3) for c in completions]

        patch.setattr(reward, "named", lambda *_: varied)
        metrics = stage.run(told, {"base": base, **questions}, out)
    assert np.isfinite(metrics["dose/kl"])
    old, new = (load.vlm(folder) for folder in (base / "instruct", out))
    before, tower = dict(old.named_parameters()), families.of(old).tower(old)
    still = {name for name, now in new.named_parameters() if torch.equal(before[name], now)}
    asleep = {id(dict(tower.named_parameters())[name]) for name in families.unread(old)}
    assert still == {name for name, weights in before.items() if id(weights) in asleep}
    assert {p.name for p in (base / "instruct").iterdir()} <= {p.name for p in out.iterdir()}


def told(base, **extract):
    own = towers.own(load.vlm(base / "instruct"))
    return SimpleNamespace(
        extract=SimpleNamespace(**{"layer": own, "projector": True} | extract),
        run=Run("study", "extract", "mine", "arm", 0, 1),
    )


def test_extraction(base, model, processor, pictures, tmp_path):
    """Features inside and outside are equal bit for bit, and the parts fit back into a model."""
    found = extract.run(told(base), {"model": base / "instruct"}, tmp_path)
    assert found["extract/max_difference"] == 0.0
    tower, head, images = towers.load(tmp_path)
    pixels = load.reader(images)(pictures)
    assert torch.equal(pixels, load.reader(processor.image_processor)(pictures))
    with torch.no_grad():
        read, projected = families.of(model).inside(model, pixels)
        outside = towers.read(tower, pixels)
        assert torch.equal(read, outside) and torch.equal(head(outside), projected)
        # in reading order: a change of one corner of an image changes the first patch the most
        states = towers.states(tower, pixels)
        spoilt = pictures.copy()
        spoilt[:, :4, -4:] = 255 - spoilt[:, :4, -4:]
        moved = towers.states(tower, load.reader(images)(spoilt))[0] - states[0]
        assert (moved.norm(dim=-1).argmax(1) == int(read.shape[1] ** 0.5) - 1).all()
        empty = load.untrained(model, 7)
        assert not torch.equal(families.of(model).inside(empty, pixels)[1], projected)
        towers.put(empty, tmp_path)
        assert torch.equal(families.of(model).inside(empty, pixels)[1], projected)
        assert torch.equal(towers.head(model)(read), projected)
    told_of = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(told_of | {"family": "gemma3"}))
    if model.config.model_type == "llava":
        with pytest.raises(StageError, match="resizes images|was extracted from a gemma3"):
            towers.put(model, tmp_path)


def test_attention(model, processor, pictures):
    """The mass on the image is eager attention's, and nothing else changes."""
    shown = batch(model, processor, pictures)
    more = torch.tensor([[20, 21, 22]] * 3)
    shown["input_ids"] = torch.cat([shown["input_ids"], more], 1)
    mask = shown["attention_mask"] = torch.cat([shown["attention_mask"], more * 0 + 1], 1)
    ids = shown["input_ids"]
    with torch.no_grad():
        plain = model(**shown).logits
        with watched(model, ids, mask, 3, (0, 1)) as watch:
            assert torch.equal(model(**shown).logits, plain)
        model.set_attn_implementation("eager")
        paid = torch.stack(model(**shown, output_attentions=True).attentions)
    image = (ids == model.config.image_token_id)[:, None, None]
    mass = (paid[..., -4:-1, :] * image).sum(-1).mean((0, 2))
    assert (watch.connectivity().mass - mass).abs().max() < 1e-5


def test_hooks(model, processor, pictures):
    """All kinds of site are seen, and what is put in their place goes on to the logits."""
    shown = batch(model, processor, pictures)
    sites = hooks.sites([0, 1], hooks.KINDS)
    with torch.no_grad(), hooks.capture(model, sites) as seen:
        plain = model(**shown).logits
    length = shown["input_ids"].shape[1]
    for site in sites:
        assert seen[site].shape == (3, length, hooks.width(model, site))
        with torch.no_grad(), hooks.edit(model, {site: torch.zeros_like}):
            assert not torch.allclose(model(**shown).logits, plain)


def test_answers(model, processor, pictures):
    """Drawn answers have the log-probabilities of a whole pass; greedy ones are `generate`'s."""
    shown = batch(model, processor, pictures)
    dice = torch.Generator().manual_seed(0)
    asked = {name: shown[name] for name in ("input_ids", "attention_mask")}
    drawn = sample.sample(model, asked, shown["pixel_values"], 2, 4, 1.0, dice)
    assert drawn.words.shape == (3, 2, drawn.words.shape[2])
    words = torch.from_numpy(drawn.words)
    assert not torch.isin(words, torch.tensor(model.config.image_token_id)).any()
    ids = torch.cat([asked["input_ids"], words[:, 1]], 1)
    mask = torch.cat([asked["attention_mask"], torch.ones_like(words[:, 1])], 1)
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask, pixel_values=shown["pixel_values"]).logits
    chances = out[:, -words.shape[2] - 1 : -1].log_softmax(-1)
    wanted = chances.gather(-1, words[:, 1, :, None])[..., 0]
    real = words[:, 1] != model.generation_config.pad_token_id
    torch.testing.assert_close(
        torch.from_numpy(drawn.logps)[:, 1][real], wanted[real], atol=1e-4, rtol=1e-4
    )
    looked = Looked(model, processor, pictures)
    with torch.no_grad():
        ids = model.generate(**shown, do_sample=False, max_new_tokens=4)
    told = processor.tokenizer.batch_decode(ids[:, -4:], skip_special_tokens=True)
    assert looked.answers(TEXTS, 4) == [text.strip() for text in told]
    again = looked.asked(TEXTS, [""] * 3)
    with torch.no_grad():
        whole = model(**shown).logits[:, -1]
    torch.testing.assert_close(
        looked.logits(again, np.arange(3), 1)[:, -1], whole, atol=1e-4, rtol=1e-4
    )
