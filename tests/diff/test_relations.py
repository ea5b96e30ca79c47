"""Questions about relations: equal numbers, true answers, mirrored twins; and how they are read."""

import numpy as np
import pytest
import torch

from steps.data.speech import RELATIONS
from steps.diff import reading, relations


@pytest.fixture(scope="module")
def related(world):
    return relations.draw(world, 3, 64)


def test_as_many_of_each_relation_in_both_halves(related):
    counts = related.table.groupby(["half", "relation"]).size()
    assert len(counts) == 8 and (counts == 8).all()
    assert related.table["item"].is_unique


def test_answers_are_what_the_boxes_say(related):
    """The first object's middle lies where the answer says, seen from the second's."""
    for row in related.table.itertuples():
        if not (row.first_box and row.second_box):
            continue
        (x0, y0, x1, y1), (u0, v0, u1, v1) = row.first_box[0], row.second_box[0]
        dx, dy = x0 + x1 - u0 - u1, y0 + y1 - v0 - v1
        way = {"left": -dx, "right": dx, "above": -dy, "below": dy}[row.relation]
        assert way > 0, row


def test_the_mirror_swaps_left_and_right_alone(related):
    assert np.array_equal(related.images[:, :, ::-1], related.mirrors)
    swapped = related.table["relation"].isin(["left", "right"])
    assert (related.table["mirrored"] != related.table["relation"]).equals(swapped)


def test_one_template_names_first_and_second(related):
    for row in related.table.itertuples():
        assert row.prompt.replace(row.first, "1", 1).replace(row.second, "2", 1) == (
            row.exchanged.replace(row.second, "1", 1).replace(row.first, "2", 1)
        )


def test_stories_settle_the_answer(related):
    assert (related.table["story"].str.startswith("scene : ")).mean() > 0.9


def test_the_same_seed_gives_the_same_scenes(world, related):
    again = relations.draw(world, 3, 64)
    assert again.table.equals(related.table) and np.array_equal(again.images, related.images)
    assert not relations.draw(world, 4, 64).table["prompt"].equals(related.table["prompt"])


def test_types_of_what_a_model_reads(vlm):
    model, processor = vlm
    tokens = model.config.image_seq_length
    image = np.zeros((2, 64, 64, 3), np.uint8)
    some = reading.asked(processor, tokens, ["is it red ?"] * 2, ["", "left"], images=image)
    one, two = (row.tolist() for row in some.types)
    assert one.count(reading.IMAGE) == tokens and one.count(reading.ANSWER) == 0
    assert two.count(reading.ANSWER) == 1 and two[-1] == reading.ANSWER
    assert one.count(reading.QUESTION) == two.count(reading.QUESTION) == 6  # with `assistant :`
    told = reading.asked(processor, tokens, ["is it red ?"], scenes=["scene : a red ball ."])
    assert told.types[0].tolist().count(reading.TOLD) == 6
    assert reading.IMAGE not in told.types[0].tolist()


def test_padding_changes_nothing_that_is_read(vlm, related):
    """A question gives the same logits and activations alone and beside a longer one."""
    model, processor = vlm
    tokens = model.config.image_seq_length
    texts = ["is it red ?", related.table["prompt"][0]]
    both = reading.asked(processor, tokens, texts, images=related.images[:2])
    alone = reading.asked(processor, tokens, texts[:1], images=related.images[:1])
    (two,) = reading.read(model, processor, both, ["residual.1"])
    (one,) = reading.read(model, processor, alone, ["residual.1"])
    assert torch.allclose(one.logits[0], two.logits[0], atol=1e-5)
    seen = one.seen["residual.1"][0], two.seen["residual.1"][0][-len(alone.ids[0]) :]
    real = alone.types[0] >= 0
    assert torch.allclose(seen[0][real], seen[1][real], atol=1e-5)


def test_margins_are_log_odds_over_the_others():
    logits = torch.tensor([[9.0, 1.0, 2.0, 3.0], [9.0, 5.0, 5.0, 5.0]])
    found = reading.margins(logits, torch.tensor([1, 2, 3]), np.array([2, 0]))
    want = [3 - np.logaddexp(1.0, 2.0), -np.log(2)]
    assert np.allclose(found, want)


def test_choices_that_begin_alike_are_refused(vlm):
    _, processor = vlm
    assert len(set(reading.words(processor, RELATIONS).tolist())) == len(RELATIONS)
    with pytest.raises(reading.StageError, match="begin with the same token"):
        reading.words(processor, ["left", "left"])
