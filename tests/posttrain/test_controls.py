"""Control arms: what they change of an arm's data, and that they change nothing else."""

import numpy as np
import pandas as pd
import pytest

from steps.posttrain import controls, dpo, grpo, questions, sft
from steps.schema.training import Grpo, Sft
from steps.stage import StageError

METHODS = {"sft": sft, "dpo": dpo, "grpo": grpo}


@pytest.fixture
def table(pairs):
    return questions.kept(pairs)


@pytest.mark.parametrize("count", [2, 3, 20])
def test_others_are_all_items_once_and_never_oneself(count):
    found = controls.others(count, 0)
    assert sorted(found) == list(range(count)) and (found != np.arange(count)).all()
    assert (found == controls.others(count, 0)).all()


def test_shuffled_images_are_other_items_and_nothing_else_changes(table):
    found = controls.images(table, "shuffled", 0)
    assert sorted(found["image"]) == sorted(table["image"])
    assert (found["image"] != table["image"]).all()
    pd.testing.assert_frame_equal(found.drop(columns="image"), table.drop(columns="image"))
    assert controls.images(table, "own", 0) is table


def test_sampled_targets_are_the_bases_right_answers(table):
    found = controls.targets(table, "sampled")
    assert len(found) == 15 and (found["response"] == found["sampled"]).all()
    assert list(found["item"]) == list(table.loc[table["sampled"] != "", "item"])
    assert controls.targets(table, "reference") is table
    with pytest.raises(StageError, match="no right answer"):
        controls.targets(table.assign(sampled=""), "sampled")


def test_rejected_answers_that_are_not_the_items_own(table):
    own = table["rejected"].tolist()
    assert controls.rejected(table, "sampled", 0) == own
    shuffled = controls.rejected(table, "shuffled", 0)
    drawn = controls.rejected(table, "random", 0)
    for found in (shuffled, drawn):
        assert all(f != c for f, c in zip(found, table["chosen"], strict=True))
        assert np.mean([f == o for f, o in zip(found, own, strict=True)]) < 0.5
    assert set(shuffled) <= set(own)
    assert [len(f.split()) for f in drawn] == [len(o.split()) for o in own]
    words = {word for text in table["chosen"] for word in text.split()}
    assert {word for text in drawn for word in text.split()} <= words


@pytest.mark.parametrize("parts", [["tower"], ["projector", "language"], ["language"]])
@pytest.mark.parametrize("method", METHODS)
def test_parts_that_are_not_trained_stay_bit_for_bit(
    method, parts, params, inputs, base, weights, tmp_path
):
    metrics = METHODS[method].run(params(**{method: {"parts": parts}}), inputs, tmp_path)
    new, old = weights(tmp_path), weights(base / "instruct")
    moved = {
        part
        for name in old
        if not np.array_equal(new[name], old[name])
        for part in ("tower", "projector", "language")
        if {"tower": "vision_tower", "projector": "multi_modal"}.get(part, "language") in name
    }
    assert moved == set(parts)
    assert {p for p in ("tower", "projector", "language") if metrics[f"dose/{p}"]} == set(parts)


def test_freezing_costs_less(params, inputs, tmp_path):
    """By hand: 6 N where a part and those before it are trained, 2 N before all that is."""
    from steps.models import families, load
    from steps.posttrain import budget
    from steps.posttrain.save import begin

    model = load.vlm(inputs["base"] / "instruct")
    n, tower_weights = budget.sizes(model), dict(families.of(model).tower(model).named_parameters())
    unread = sum(tower_weights[name].numel() for name in families.unread(model))
    passes = budget.Passes(tokens=50, images=3)  # 4 tokens an image
    for parts, times in {
        ("tower", "projector", "language"): (6, 6, 6),
        ("projector", "language"): (2, 6, 6),
        ("language",): (2, 2, 6),
        ("tower",): (6, 4, 4),
    }.items():
        model, _ = begin(inputs["base"], parts)
        found = budget.spent(model, 1, passes)["budget/flops"]
        tower, projector, language = times
        still = 2 * unread if tower == 6 else 0  # no gradient reaches these, trained or not
        assert found == (tower * n["tower"] - still + projector * n["projector"]) * 12 + (
            language * n["language"] * 50
        )


@pytest.mark.parametrize(
    "told",
    [
        {"sft": {"targets": "sampled"}},
        {"sft": {"images": "shuffled"}},
        {"dpo": {"rejected": "shuffled"}},
        {"dpo": {"rejected": "random"}},
        {"dpo": {"loss": "mpo"}},
    ],
)
def test_a_control_trains_as_long_and_ends_elsewhere(
    told, params, inputs, trained, weights, tmp_path
):
    (method,) = told
    metrics = METHODS[method].run(params(**told), inputs, tmp_path)
    plain = trained[method]
    assert metrics["budget/steps"] == plain[1]["budget/steps"]
    assert metrics["budget/images"] == plain[1]["budget/images"]
    new, old = weights(tmp_path), weights(plain[0])
    assert any(not np.array_equal(new[name], old[name]) for name in old)


def test_keys_that_do_not_go_together(params):
    values = params()
    with pytest.raises(ValueError, match="must be train"):
        Sft(**values.sft.model_dump() | {"items": "stage1", "targets": "sampled"})
    with pytest.raises(ValueError, match="at most 1.00"):
        Grpo(**values.grpo.model_dump() | {"weight": "two_level", "share": 0.5, "boost": 1.5})
