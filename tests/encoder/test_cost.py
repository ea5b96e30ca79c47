"""What an encoder cost to make, against counts made by hand and the recipe's own steps."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from steps import params
from steps.data.language import vocabulary
from steps.encoder import cost
from steps.models import build, instruct
from steps.models.load import vlm
from steps.posttrain import budget

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    sizes = SimpleNamespace(
        tower_width=16, tower_layers=1, tower_heads=2, width=24, layers=2, heads=3, feed_forward=32
    )
    folder = tmp_path_factory.mktemp("cost") / "base"
    build.vlm(build.config(sizes, 64, 8, vocabulary()), 0).save_pretrained(folder / "aligned")
    build.processor(64, 8, vocabulary()).save_pretrained(folder / "aligned")
    return folder


def short():
    """The study's recipe with few steps of few images, and sizes of the tiny base."""
    study = params.load(ROOT / "params.yaml")
    recipe, small = study.recipe, {"tower_width": 16, "tower_layers": 1, "tower_heads": 2}
    small |= {"width": 24, "layers": 2, "heads": 3, "feed_forward": 32}
    less = {
        name: getattr(recipe, name).model_copy(update={"steps": steps, "batch": batch})
        for name, steps, batch in (("tower", 5, 3), ("align", 2, 2), ("instruct", 6, 2))
    }
    less["model"] = recipe.model.model_copy(update=small)
    less["practise"] = recipe.practise.model_copy(update={"steps": 4, "text_every": 2})
    less["text_every"] = 3
    return SimpleNamespace(world=study.world, recipe=recipe.model_copy(update=less))


def test_counts_by_hand(base, tmp_path):
    told = short()
    found = cost.run(told, {"base": base}, tmp_path)
    n = budget.sizes(vlm(base / "aligned"))
    # 5 steps of 3 images, 64 patches each; two of instruct's first six steps are on text alone,
    # and steps 7 and 9 of the four that follow.
    assert found["cost/tower/samples"] == 15 and found["cost/align/samples"] == 4
    assert found["cost/instruct/samples"] == (6 - 2 + 4 - 2) * 2
    assert found["cost/tower/flops"] == 6 * n["tower"] * 15 * 64
    assert 15 * 64 < found["cost/tower/tokens"] < 15 * 64 + 15 * 4 * 12
    for part, eye in (("align", 2 * n["tower"] + 6 * n["projector"]), ("instruct", None)):
        images, tokens = found[f"cost/{part}/samples"] * 64, found[f"cost/{part}/tokens"]
        whole = 6 * (n["tower"] + n["projector"]) if eye is None else eye
        words = (6 if eye is None else 4) * n["language"]  # frozen, it still hands gradients on
        assert found[f"cost/{part}/flops"] == whole * images + words * round(tokens)


def test_tokens_are_those_of_the_recipes_own_batches(base, tmp_path, monkeypatch):
    """All of instruct's batches, as its stage draws them; few steps, so that all are counted."""
    told, read = short(), []
    told.run = SimpleNamespace(checkpoints=tmp_path / "none")
    real = instruct.loss

    def loss(model, batch, by):
        images = 0 if batch.images is None else len(batch.images)
        read.append((int((batch.segments >= 0).sum()), images))
        return real(model, batch, by)

    monkeypatch.setattr(instruct, "loss", loss)
    monkeypatch.setattr(cost, "DRAWN", 100)
    instruct.run(told, {"align": base / "aligned"}, tmp_path)
    found = cost.run(told, {"base": base}, tmp_path)
    assert len(read) == 10
    assert found["cost/instruct/tokens"] == pytest.approx(sum(tokens for tokens, _ in read))
    assert found["cost/instruct/samples"] == sum(images for _, images in read)


def test_time_is_a_steps_times_the_recipes_steps(base, monkeypatch):
    """A part that takes 3 s to start and 2 s a step, by a clock of the test's own."""
    told, ran = short(), []

    def seconds(stage, params, part, steps, inputs, out):
        ran.append((stage.__name__.rpartition(".")[2], part, steps))
        return 3.0 + 2.0 * steps

    monkeypatch.setattr(cost, "_seconds", seconds)
    assert cost.timed(told, base) == {"tower": 10.0, "align": 4.0, "instruct": 20.0}
    assert ran[:2] == [("tower", "tower", 2), ("tower", "tower", 7)]


def test_the_recipes_parts_really_run(base, monkeypatch):
    monkeypatch.setattr(cost, "TIMED", 1)
    found = cost.timed(short(), base)
    assert set(found) == set(cost.PARTS) and np.isfinite(list(found.values())).all()
