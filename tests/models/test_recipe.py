"""The recipe's parts: packing changes nothing, resuming changes nothing, words are words."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps import params
from steps.data.language import View, regions, vocabulary
from steps.data.world import sample
from steps.models import attention, batches, build, feed, fit, load, packed
from steps.models.regions import described
from steps.models.tokenizer import Lexicon
from steps.stage import StageError


@pytest.fixture(scope="module")
def study():
    return params.load(Path(__file__).parents[2] / "params.yaml")


@pytest.fixture(scope="module")
def tiny(study):
    sizes = SimpleNamespace(
        tower_width=16, tower_layers=1, tower_heads=2, width=24, layers=2, heads=3, feed_forward=32
    )
    return build.vlm(build.config(sizes, 64, 8, vocabulary()), 0).eval()


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon(vocabulary())


def test_lexicon_is_the_tokenizer(lexicon):
    tok = build.processor(64, 8, vocabulary()).tokenizer
    assert len(tok) == len(lexicon)
    text = "user : what color is the circle ? assistant : the answer is red"
    assert tok(text)["input_ids"] == lexicon.encode(text)
    assert tok.decode(lexicon.encode(text)) == text


def test_chat_template_is_the_packed_rows_text(study, lexicon):
    """A packed row read as one question is what the processor makes of the conversation."""
    processor = build.processor(64, 8, vocabulary())
    batch = batches.seen(study.world, study.recipe, lexicon, np.random.default_rng(0), 1, 64)
    row, first = batch.ids[0], batch.segments[0] == 1
    question = row[first & (batch.labels[0] == -100)]
    answer = row[first & (batch.labels[0] != -100)]
    words = processor.tokenizer.decode(question).removesuffix(" assistant :")
    said = processor.tokenizer.decode(answer).removesuffix(" <eos>")
    talk = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": words}]},
        {"role": "assistant", "content": said},
    ]
    text = processor.apply_chat_template(talk, tokenize=False).replace("<image>", "<image>" * 64)
    whole = np.concatenate([row[batch.segments[0] == 0], question, answer])
    assert processor.tokenizer(text)["input_ids"] == whole.tolist()


@pytest.mark.parametrize("by", ["response", "token"])
@pytest.mark.parametrize("kind", ["seen", "told"])
def test_packed_loss_is_that_of_questions_asked_one_by_one(study, tiny, lexicon, kind, by):
    rng = np.random.default_rng(1)
    if kind == "seen":
        batch = batches.seen(study.world, study.recipe, lexicon, rng, 2, 64)
    else:
        batch = batches.told(study.world, study.recipe, lexicon, rng, 2)
    with torch.no_grad():
        together = packed.loss(tiny, batch, by).item()
        total, count = 0.0, 0
        for i in range(2):
            prefix = batch.ids[i][batch.segments[i] == 0]
            for number in range(1, batch.segments[i].max() + 1):
                own = batch.segments[i] == number
                ids = np.concatenate([prefix, batch.ids[i][own]])
                labels = np.concatenate([np.full(len(prefix), -100), batch.labels[i][own]])
                images = None if batch.images is None else load.pixels(batch.images[i : i + 1])
                out = tiny(
                    input_ids=torch.from_numpy(ids)[None],
                    pixel_values=images,
                    labels=torch.from_numpy(labels)[None],
                )
                n = (labels != -100).sum() if by == "token" else 1
                total, count = total + out.loss.item() * n, count + n
    assert together == pytest.approx(total / count, rel=1e-5)


def test_pixels_are_the_image_processors(study):
    from PIL import Image

    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    processor = build.processor(64, 8, vocabulary()).image_processor
    made = processor([Image.fromarray(i) for i in images], return_tensors="pt")["pixel_values"]
    assert torch.allclose(load.pixels(images), made, atol=1e-6)


def part(**changes):
    values = {
        "steps": 12,
        "batch": 2,
        "learning_rate": 1e-2,
        "matrix_rate": 1e-2,
        "warmup": 3,
        "weight_decay": 0.01,
        "precision": "float32",
        "save_every": 5,
    }
    return SimpleNamespace(**{**values, **changes})


def draw(step, rng, stop=None):
    """For a linear problem: something that a process which begins anew can import."""
    if step == stop:
        raise StageError(f"step {step} cannot be drawn")
    return rng.standard_normal((8, 4), np.float32)


def _regress(folder, steps, stop=None):
    torch.manual_seed(0)
    layer = torch.nn.ModuleDict({"layers": torch.nn.ModuleList([torch.nn.Linear(4, 4)])})
    layer["head"] = torch.nn.Linear(4, 1)

    def loss(batch):
        x = torch.from_numpy(batch)
        hidden = layer["layers"][0](x)
        return (layer["head"](hidden) - x.sum(1, keepdim=True)).square().mean()

    drawn = partial(draw, stop=stop)
    losses = fit.fit(part(steps=steps), {"layer": layer}, drawn, loss, folder, seed=1)
    return losses, layer.state_dict()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_resumed_run_is_the_undisturbed_one(tmp_path, monkeypatch, workers):
    """Whether or not other processes draw, whose error is raised as it was."""
    whole, weights = _regress(tmp_path / "a", 12)
    monkeypatch.setattr(feed, "workers", lambda device: workers)
    with pytest.raises(StageError, match=r"^step 8 cannot be drawn$"):
        _regress(tmp_path / "b", 12, stop=8)
    again, resumed = _regress(tmp_path / "b", 12)
    assert again == whole
    assert all(torch.equal(weights[k], resumed[k]) for k in weights)
    assert np.mean(whole[-3:]) < np.mean(whole[:3])


def test_muon_moves_the_matrices_inside_layers_and_adamw_the_rest(tiny):
    adam, muon = fit._optimisers(part(), {"vlm": tiny})
    mine, rest = ({id(p) for g in o.param_groups for p in g["params"]} for o in (muon, adam))
    names = {n for n, p in tiny.named_parameters() if id(p) in mine}
    assert any("vision_tower" in n for n in names) and any("language_model" in n for n in names)
    assert all("layers." in n and n.endswith("weight") and "norm" not in n for n in names)
    assert len(mine) + len(rest) == len(list(tiny.parameters()))
    slow = fit._optimisers(part(), {"vlm": tiny}, tower_share=0.1)
    peaks = {"vision_tower": {1e-3}, "": {1e-2}}
    for name, p in tiny.named_parameters():
        groups = [g for o in slow for g in o.param_groups if any(p is q for q in g["params"])]
        assert {g["peak"] for g in groups} == peaks["vision_tower" * ("vision_tower" in name)]


@pytest.mark.parametrize("first", [0, 3])
def test_a_loss_that_is_no_number_stops_the_recipe(tmp_path, first):
    layer = torch.nn.Linear(1, 1)

    def loss(step):
        return layer.weight.sum() * (torch.nan if step >= first else 1)

    with pytest.raises(StageError, match=rf"nan at step {first}; lower the part"):
        fit.fit(part(), {"l": layer}, lambda step, rng: step, loss, tmp_path, 0)


def test_the_step_is_named_of_losses_read_together():
    values = [torch.tensor(x) for x in (1.0, 2.0, torch.inf, torch.nan)]
    assert fit._read(values[:2], 40) == [1.0, 2.0]
    with pytest.raises(StageError, match="inf at step 42;"):
        fit._read(values, 40)


def test_rate_rises_then_falls_to_nothing():
    rates = [fit.rate(s, 100, 10) for s in range(100)]
    assert rates[0] == 0.1 and rates[9] == rates[10] == 1.0
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert rates[-1] < 1e-3


def test_no_scene_is_drawn_twice(study, lexicon):
    first, second = (
        described(study.world, lexicon, np.random.default_rng([0, step]), 4)[0] for step in (0, 1)
    )
    assert not (first[:, None] == second[None]).all((2, 3, 4)).any()


def test_a_region_is_described_by_its_phrase_and_pooled_over_its_box(study, lexicon):
    world, seed = study.world, 3
    _, said, inside = described(world, lexicon, np.random.default_rng(seed), 6)
    scenes = sample(world, np.random.default_rng(seed), 6, "train")
    points = (np.arange(10 * world.canvas) + 0.5) / 10
    for i in range(6):
        view = View(scenes, i)
        for r, (phrase, (left, top, right, bottom)) in enumerate(regions(view)):
            assert said[i, r].nonzero()[0].tolist() == sorted(map(lexicon.get, phrase.split()))
            wide, high = (points > left) & (points < right), (points > top) & (points < bottom)
            box = (high[:, None] & wide).reshape(8, 80, 8, 80).mean((1, 3)).ravel()
            assert inside[i, r] == pytest.approx(box / box.sum(), abs=1e-6)
        assert not said[i, r + 1 :].any() and not inside[i, r + 1 :].any()
        assert phrase == f"{view.ground} ground" and np.ptp(inside[i, r]) < 1e-6


def test_scenes_grow_from_the_fewest_objects_to_all(study):
    most = [batches.growing(study.world, 0.5, s, 80).objects[1] for s in range(80)]
    assert most[:40] == [1] * 10 + [2] * 10 + [3] * 10 + [4] * 10 and set(most[40:]) == {4}
    assert batches.growing(study.world, 0.0, 0, 80).objects[1] == 1  # grown at the next step
    assert batches.growing(study.world, 0.0, 1, 80).objects[1] == 4


def test_float32_attention_is_the_fused_one_and_stays_so_under_autocast(tiny, study, lexicon):
    batch = batches.seen(study.world, study.recipe, lexicon, np.random.default_rng(2), 2, 64)
    with torch.no_grad():
        stock = packed.loss(tiny, batch).item()
        try:
            attention.use(tiny)
            assert packed.loss(tiny, batch).item() == pytest.approx(stock, rel=1e-6)
            q = torch.randn(1, 2, 5, 8, dtype=torch.bfloat16)
            module = SimpleNamespace(is_causal=False, training=False)
            with torch.autocast("cpu", torch.bfloat16):
                out, _ = attention._attend(module, q, q, q, None)
        finally:
            tiny.set_attn_implementation("sdpa")
    assert out.dtype == torch.float32
