"""Keys that are legal one by one and do not go together are told before anything runs."""

import re

import numpy as np
import pytest

from steps import params as P
from steps.data.world import SPLITS, sample
from steps.schema.agree import canvas_for
from tests.test_params import changed

WRONG = [
    ("diff.k", 640, r"diff\.k = 640: give a number below diff\.width = 640"),
    ("diff.batch", 70000, r"diff\.batch = 70000: give at most diff\.tokens = 60000"),
    ("world.sprites", "photos", r"items\.novel_share = 0\.2: give 1, because"),
    ("instruments", ["forget", "vqa"], r"instruments = forget, vqa: forget .*, add classify"),
    ("arms.sighted.seeds", 9, r"arms\.sighted\.seeds = 9: give all, or at most 3, as many as"),
    ("contrasts", [["grpo", "mine"]], r"contrasts: \[grpo, mine\]: give two different arms, which"),
    ("contrasts", [["grpo", "grpo"]], r"contrasts: \[grpo, grpo\]: give two different arms, which"),
    ("drift.reference", "sighted", r"drift\.reference = 'sighted': give an arm .*: none, continue"),
    ("world.large", [16, 60], r"world\.large = \[16, 60\]: .* canvas of at least 77, and .* = 64"),
    ("world.small", [11, 49], r"world\.small = \[11, 49\]: objects of 49 pixels need a canvas"),
    ("recipe.model.tower_width", 130, r"recipe\.model\.tower_width = 130: give a multiple of 4"),
    ("recipe.model.width", 155, r"recipe\.model\.width = 155: give a multiple of 10 .*heads = 5"),
    ("items.train", 31, r"items\.train = 31: give at least train\.batch = 32"),
    ("items.stage1", 99, r"items\.stage1 = 99: give at least items\.train = \d+, .*arm continue"),
    ("dpo.beta", float("inf"), r"dpo\.beta = inf is not allowed: give a number > 0"),
    ("train.clip", float("nan"), r"train\.clip = nan is not allowed: give a number > 0"),
    ("classify.penalties", [float("inf")], r"classify\.penalties\.0 = inf .* a number > 0"),
    ("arms.dpo", {"method": "dpo", "beta": float("inf")}, r"arms\.dpo\.beta = inf .* > 0"),
]


@pytest.mark.parametrize(("place", "value", "said"), WRONG)
def test_what_does_not_go_together_is_one_sentence(place, value, said):
    with pytest.raises(P.ParamsError) as error:
        P.check(changed(place, value), "params.yaml")
    assert re.search(rf"^params\.yaml: {said}", str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


def test_few_stage1_items_do_where_no_arm_trains_on_them():
    values = changed("items.stage1", 1)
    del values["arms"]["continue"]
    assert P.check(values).items.stage1 == 1


@pytest.mark.parametrize("diameter", [1, 20, 31])
def test_the_largest_objects_that_are_let_through_stay_on_the_canvas(diameter):
    side = -(-canvas_for(diameter) // 8) * 8
    while canvas_for(diameter + 1) <= side:  # the largest for this canvas
        diameter += 1
    values = changed("world.canvas", side)
    values["world"] |= {"small": [1, 1], "large": [diameter, diameter], "gap": 0}
    world = P.check(values).world
    for split in SPLITS:
        s = sample(world, np.random.default_rng(0), 2000, split, main=True)
        there, half = s.shape >= 0, s.d // 2
        for place in (s.x, s.y):
            assert (place - half)[there].min() >= 0
            assert (place + half)[there].max() < side + 1
