"""Encoders in a new model: equal terms for every row, resumed like any training, and calibrated."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps import params
from steps.data import world
from steps.data.items import draw
from steps.data.language import vocabulary
from steps.data.paint import render
from steps.encoder import newcomers, reuse, transplant
from steps.encoder import tower as towers
from steps.models import batches, build, load
from steps.models.tokenizer import Lexicon

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def study():
    return params.load(ROOT / "params.yaml")


def part(**changes):
    values = {"steps": 3, "batch": 2, "learning_rate": 1e-2, "matrix_rate": 0.0, "warmup": 1}
    values |= {"weight_decay": 0.0, "precision": "float32", "save_every": 1}
    return SimpleNamespace(**values | changes)


@pytest.fixture
def told(study, tmp_path):
    """What the stage reads, cut down."""
    return SimpleNamespace(
        world=study.world,
        recipe=study.recipe,
        reuse=SimpleNamespace(
            tower="frozen",
            encoders={},
            align=part(),
            instruct=part(matrix_rate=0.01),
            items=16,
            blind=8,
            batch=8,
            max_tokens=4,
        ),
        run=SimpleNamespace(
            study="s", base="b", arm="sft", seed=3, checkpoints=tmp_path / "checkpoints"
        ),
    )


def saved(folder, seed, **changes):
    sizes = {"tower_width": 16, "tower_layers": 1, "tower_heads": 2, "width": 24, "layers": 2}
    sizes |= {"heads": 3, "feed_forward": 32}
    model = build.vlm(build.config(SimpleNamespace(**sizes | changes), 64, 8, vocabulary()), seed)
    model.save_pretrained(folder)
    build.processor(64, 8, vocabulary()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def given(study, tmp_path_factory):
    """A tiny base, an arm's model, a larger encoder and questions, in folders as stages leave."""
    folder = tmp_path_factory.mktemp("reuse")
    saved(folder / "base/aligned", 0)
    saved(folder / "model", 1)
    large = load.vlm(saved(folder / "large", 2, tower_width=32, tower_layers=2))
    large.model.vision_tower.save_pretrained(folder / "encoder")
    rows, scenes = draw(study.world, np.random.default_rng(0), 24, "test", False, 0.5)
    table = pd.DataFrame(rows)
    table.insert(0, "item", [f"i{i}" for i in range(24)])
    (folder / "items").mkdir()
    table.to_parquet(folder / "items/vqa.parquet")
    np.save(folder / "items/vqa_images.npy", render(study.world, scenes)[0])
    return {name: folder / name for name in ("base", "model", "items", "encoder")}


def tower_of(folder):
    vlm = load.vlm(folder)
    return towers.cut(vlm, vlm.config.vision_feature_layer)


def state(module):
    return {name: weight.clone() for name, weight in module.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize("kept", ["frozen", "trained"])
def test_only_what_is_to_learn_learns(given, told, kept):
    told.reuse.tower = kept
    vlm = transplant.model(given["base"] / "aligned", tower_of(given["model"]), 3)
    parts = (vlm.model.vision_tower, vlm.model.multi_modal_projector, vlm.model.language_model)
    before = [state(p) for p in parts]
    losses = transplant.train(vlm, told, 3, told.run.checkpoints)
    tower, projector, language = (
        same(b, p.state_dict()) for b, p in zip(before, parts, strict=True)
    )
    assert (tower, projector, language) == (kept == "frozen", False, False)
    assert [len(line) for line in losses.values()] == [3, 3]


def test_the_projector_alone_learns_first(given, told, monkeypatch):
    vlm = transplant.model(given["base"] / "aligned", tower_of(given["model"]), 3)
    before = state(vlm.model.language_model)
    fits = []

    def fit(part, modules, *args, **options):
        free = {n.partition(".")[0] for n, p in vlm.model.named_parameters() if p.requires_grad}
        fits.append((free, same(before, vlm.model.language_model.state_dict())))
        return [1.0]

    monkeypatch.setattr(transplant, "fit", fit)
    transplant.train(vlm, told, 3, told.run.checkpoints)
    both = {"multi_modal_projector", "language_model"}
    assert fits == [({"multi_modal_projector"}, True), (both, True)]


def test_rows_start_alike_and_see_the_same(given, told, monkeypatch):
    """Language model, projector and batches depend on the seed, not on the encoder."""
    drawn, real = [], transplant.seen
    monkeypatch.setattr(transplant, "seen", lambda *a: drawn.append(real(*a)) or drawn[-1])
    starts = []
    for folder, seed in ((given["model"], 3), (given["base"] / "aligned", 3), (given["model"], 4)):
        vlm = transplant.model(given["base"] / "aligned", tower_of(folder), seed)
        starts.append((state(vlm.model.language_model), state(vlm.model.multi_modal_projector)))
        transplant.train(vlm, told, seed, told.run.checkpoints / f"{folder.name}{seed}")
    (words, head), (words_too, head_too), (_, other) = starts
    assert same(words, words_too) and same(head, head_too) and not same(head, other)
    own, too, others = drawn[:6], drawn[6:12], drawn[12:]
    for one, two, three in zip(own, too, others, strict=True):
        assert np.array_equal(one.ids, two.ids) and np.array_equal(one.images, two.images)
        assert not np.array_equal(one.images, three.images)
    # No batch of one part is one of the other's.
    assert len({batch.images.tobytes() for batch in own}) == 6
    # And the language model is the base's, from before it met an image.
    assert same(words, load.vlm(given["base"] / "aligned").model.language_model.state_dict())


def test_scenes_are_of_a_split_that_nothing_else_is_made_from(study, told, monkeypatch):
    drawn, real = [], batches.sample
    monkeypatch.setattr(batches, "sample", lambda *a: drawn.append(real(*a)) or drawn[-1])
    lexicon = Lexicon(vocabulary())
    for split in (transplant.SPLIT, "train"):
        rng = np.random.default_rng(0)
        batches.seen(study.world, study.recipe, lexicon, rng, 40, 64, split=split)
    codes = [set(world.code(scenes)) for scenes in drawn]
    assert codes[0] == set(world.SPLITS["probe"]) and codes[1] <= set(world.SPLITS["train"])
    assert not codes[0] & {*world.SPLITS["train"], *world.SPLITS["test"]}


def test_stage(given, told, tmp_path):
    metrics = reuse.run(told, given, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} >= {"items.parquet", "losses.json"}
    assert not list(tmp_path.glob("*.safetensors"))
    items = pd.read_parquet(tmp_path / "items.parquet")
    assert items["instrument"].value_counts().to_dict() == {"reuse": 16, "reuse_grey": 8}
    assert metrics["reuse/lenient"] == items[items["instrument"] == "reuse"]["lenient"].mean()
    assert reuse.rescored(told, given, tmp_path, tmp_path) == metrics
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "items.parquet"), items)
    shown = items[items["kind"] != "fact"].pivot(
        index="item", columns="instrument", values="lenient"
    )
    asked = shown.dropna()
    assert metrics["reuse/grey/lenient"] == asked["reuse_grey"].mean()
    assert metrics["reuse/sighted/lenient"] == asked["reuse"].mean()


def test_a_killed_run_ends_in_the_same_figures(given, told, tmp_path, monkeypatch):
    undisturbed = reuse.run(told, given, tmp_path)
    for killed_at in (2, 5):  # in either part
        told.run.checkpoints, drawn, real = tmp_path / f"again{killed_at}", [], transplant.seen

        def seen(*args, at=killed_at, drawn=drawn, real=real):
            drawn.append(0)
            if len(drawn) == at + 1:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(transplant, "seen", seen)
        with pytest.raises(KeyboardInterrupt):
            reuse.run(told, given, tmp_path)
        monkeypatch.setattr(transplant, "seen", real)
        assert list(told.run.checkpoints.rglob("state.safetensors"))
        assert reuse.run(told, given, tmp_path) == undisturbed


def test_newcomers_are_rows_like_any_other(given, told, tmp_path):
    """The original encoder as an arm's would give the same; a larger one has its own shape."""
    told.reuse.encoders = {"larger": "x"}
    (tmp_path / "n").mkdir()
    (tmp_path / "r").mkdir()
    found = newcomers.run(told, {**given, "encoder_larger": given["encoder"]}, tmp_path / "n")
    told.run.checkpoints = tmp_path / "other"
    alike = reuse.run(told, {**given, "model": given["base"] / "aligned"}, tmp_path / "r")
    assert {f"original/{name}": value for name, value in alike.items()}.items() <= found.items()
    assert found["larger/reuse/parameters"] > 3 * found["original/reuse/parameters"]
    assert {name.partition("/")[0] for name in found} == {"original", "larger"}
    items = pd.read_parquet(tmp_path / "n/items.parquet")
    again = newcomers.rescored(told, given, tmp_path / "n", tmp_path / "n")
    assert again == {k: v for k, v in found.items() if not k.endswith("/parameters")}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "n/items.parquet"), items)
    assert set(items["instrument"]) == {
        f"{row}/{view}" for row in ("original", "larger") for view in ("reuse", "reuse_grey")
    }


@pytest.mark.slow
def test_an_encoder_that_tells_nothing_ends_below_one_that_sees(study, told, tmp_path):
    """Calibration: the bundled tower and one of random weights, on equal terms.

    Scenes of one object, so that eighty small steps are enough to tell them apart; with up to four
    objects they were not (losses of 0.387 and 0.402). Batches are paired: so are losses.
    """
    base = ROOT / "models/bundled"
    told.world = study.world.model_copy(update={"objects": [1, 1]})
    told.reuse.align = part(steps=20, batch=8, learning_rate=3e-3, save_every=100)
    told.reuse.instruct = part(
        steps=60, batch=8, learning_rate=1e-3, matrix_rate=0.01, save_every=100
    )
    ends = {}
    for name in ("sees", "blind"):
        tower = tower_of(base / "instruct")
        tower = load.untrained(tower, 0).cpu() if name == "blind" else tower
        vlm = transplant.model(base / "aligned", tower, 0)
        losses = transplant.train(vlm, told, 0, tmp_path / name)
        ends[name] = np.array(losses["instruct"][-20:])
    gap = ends["blind"] - ends["sees"]
    assert gap.mean() > 0.03 and gap.mean() > 5 * gap.std() / len(gap) ** 0.5
