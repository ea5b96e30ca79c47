"""Three tunings that differ in one thing: on the batches themselves, and on what they train."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from steps import params
from steps.data.language import vocabulary
from steps.data.speech import of
from steps.models import build, fit, load, tuned
from steps.models.tokenizer import IMAGE, Lexicon
from steps.stage import StageError

PATCHES = 64


@pytest.fixture(scope="module")
def study():
    return params.load(Path(__file__).parents[2] / "params.yaml")


def part(**changes):
    values = {"steps": 6, "batch": 3, "learning_rate": 1e-2, "matrix_rate": 1e-2, "warmup": 2}
    values |= {"weight_decay": 0.01, "precision": "float32", "save_every": 2}
    return SimpleNamespace(**{**values, **changes})


def drawn(world, recipe, step, **changes):
    """The batch of a step as each of the three draws it."""
    lexicon = Lexicon(vocabulary(of(world)))
    return {
        before: tuned.Draw(world, recipe, lexicon, PATCHES, part(**changes), before)(
            step, np.random.default_rng([0, step])
        )
        for before in tuned.BEFORE
    }, lexicon


def asked(batch):
    """Questions and answers of each row: token ids, segments and labels without the prefix."""
    found = []
    for row in range(len(batch.ids)):
        own = batch.segments[row] > 0
        rows = (batch.ids, batch.segments, batch.labels)
        found.append([array[row][own].tolist() for array in rows])
    return found


@pytest.mark.parametrize("step", [0, 3, 5])
def test_the_same_questions_about_the_same_scenes(study, step):
    batches, lexicon = drawn(study.world, study.recipe, step, batch=6)
    assert asked(batches["seen"]) == asked(batches["told"]) == asked(batches["shuffled"])
    assert (batches["seen"].ids == batches["shuffled"].ids).all()
    words = {number: word for word, number in lexicon.items()}
    for row, ids in enumerate(batches["told"].ids):
        assert lexicon[IMAGE] not in ids
        prefix = " ".join(words[i] for i in ids[batches["told"].segments[row] == 0])
        assert prefix.startswith("user : scene : a ") and " the ground is " in prefix
    assert batches["told"].images is None
    own, others = batches["seen"].images, batches["shuffled"].images
    same = (own[:, None] == others[None]).all((2, 3, 4))
    assert same.sum(0).tolist() == same.sum(1).tolist() == [1] * 6  # each image once ...
    assert not same.diagonal().any()  # ... and none before its own questions


def test_the_scenes_are_those_that_instruct_draws_from_the_same_numbers(study):
    """A rendering of the scenes sampled first from the step's generator."""
    from steps.data.paint import render
    from steps.data.world import sample
    from steps.models.batches import growing

    batches, _ = drawn(study.world, study.recipe, 5, batch=4)
    stage = growing(study.world, study.recipe.grow, 5, 6)
    scenes = sample(stage, np.random.default_rng([0, 5]), 4, "train")
    assert (render(stage, scenes)[0] == batches["seen"].images).all()


def test_steps_on_text_alone_are_alike(study):
    every = study.recipe.text_every
    batches, _ = drawn(study.world, study.recipe, every - 1, steps=2 * every)
    for batch in batches.values():
        assert batch.images is None
        assert (batch.ids == batches["seen"].ids).all()


def test_a_telling_holds_what_is_asked_of_it(study):
    """Of the relations that are asked, in plain words, each is stated or follows from places."""
    recipe = study.recipe.model_copy(update={"captions": 0.0, "style_b": 0.0})
    batches, lexicon = drawn(study.world, recipe, 5, batch=60)
    told, words = batches["told"], {n: w for w, n in lexicon.items()}
    count = 0
    for ids, segments in zip(told.ids, told.segments, strict=True):
        said = [" ".join(words[i] for i in ids[segments == n]) for n in range(segments.max() + 1)]
        parts = said[0].removeprefix("user : scene : ").removesuffix(" .").split(" ; ")
        things = [part[2:].split(" at the ") for part in parts if part.startswith("a ")]
        looks = {name.split(" ", 1)[1]: (name, place.split()) for name, place in things}
        if len(looks) < len(things):
            continue  # two that differ in size alone, or in nothing
        for question in said[1:]:
            if not question.startswith("where is the "):
                continue
            named = [looks[look] for look in looks if f" {look} " in question]
            if len(named) == 2:
                count += 1
                (one, here), (other, there) = named
                aligned = (here[0] == there[0]) != (here[1] == there[1])
                assert aligned or any(one in p and other in p for p in parts)
    assert count > 50


@pytest.mark.parametrize("count", [2, 3, 12])
def test_a_derangement_leaves_nothing_in_its_place(count):
    orders = [tuned.elsewhere(count, np.random.default_rng(seed)) for seed in range(40)]
    for order in orders:
        assert sorted(order) == list(range(count)) and (order != np.arange(count)).all()
    assert len({tuple(order) for order in orders}) > (count > 2)  # not always the same


def test_one_scene_has_no_other(study):
    with pytest.raises(StageError, match="tuned.batch = 1: .* at least 2"):
        drawn(study.world, study.recipe, 0, batch=1)


def test_a_world_of_photographs(photographed, study):
    batches, _ = drawn(photographed, study.recipe, 5)
    assert asked(batches["seen"]) == asked(batches["told"]) == asked(batches["shuffled"])
    assert batches["seen"].images.shape == (3, 64, 64, 3)


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    sizes = SimpleNamespace(
        tower_width=16, tower_layers=1, tower_heads=2, width=24, layers=2, heads=3, feed_forward=32
    )
    folder = tmp_path_factory.mktemp("base") / "aligned"
    build.vlm(build.config(sizes, 64, 8, vocabulary()), 0).save_pretrained(folder)
    build.processor(64, 8, vocabulary()).save_pretrained(folder)
    return folder


def run(study, aligned, checkpoints, out):
    out.mkdir()
    recipe = study.recipe.model_copy(update={"text_every": 3})
    run = SimpleNamespace(seed=1, checkpoints=checkpoints)
    given = SimpleNamespace(world=study.world, recipe=recipe, tuned=part(), run=run)
    return tuned.run(given, {"base": aligned.parent}, out)


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def trained(study, aligned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder / "out", run(study, aligned, folder / "kept", folder / "out")


def test_three_models_on_equal_budgets(trained, aligned):
    out, metrics = trained
    losses = json.loads((out / "losses.json").read_text())
    assert list(losses) == list(tuned.BEFORE) and {len(line) for line in losses.values()} == {6}
    start, seen = weights(aligned), {before: weights(out / before) for before in losses}
    eyes = [name for name in start if "language_model" not in name and "lm_head" not in name]
    assert len(eyes) > 10
    moved = {b: [n for n in start if not torch.equal(w[n], start[n])] for b, w in seen.items()}
    assert not set(moved["told"]) & set(eyes)  # tuned on text alone: eye and projector untouched
    assert set(moved["seen"]) & set(eyes) and set(moved["shuffled"]) & set(eyes)
    words = [name for name in start if name not in eyes]
    assert not any(torch.equal(seen["seen"][n], seen["shuffled"][n]) for n in words if "proj" in n)
    for before in losses:
        assert metrics[f"tuned/{before}/loss"] == pytest.approx(np.mean(losses[before]))
        assert 0 < metrics[f"tuned/{before}/loss_grey"] < 10
        assert load.processor(out / before).image_token_id is not None
        load.vlm(out / before)


@pytest.mark.parametrize("writes", [1, 3, 6])
def test_a_killed_run_goes_on_to_the_same_weights(
    trained, study, aligned, tmp_path, monkeypatch, writes
):
    """Two checkpoints a tuning: killed within the first, the second and the third."""
    keep, calls = fit._keep, []

    def die(*args):
        keep(*args)
        calls.append(args)
        if len(calls) == writes:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_keep", die)
        with pytest.raises(KeyboardInterrupt):
            run(study, aligned, tmp_path / "kept", tmp_path / "killed")
    out, metrics = trained
    assert run(study, aligned, tmp_path / "kept", tmp_path / "out") == metrics
    for before in tuned.BEFORE:
        mine, theirs = weights(tmp_path / "out" / before), weights(out / before)
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
