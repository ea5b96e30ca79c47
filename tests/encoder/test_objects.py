"""Which questions are about one object, and its mask against the world's own owners of pixels."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steps import params
from steps.data import items as drawn
from steps.data.language import View, caption
from steps.data.paint import LETTER, classes, owners
from steps.data.speech import DRAWN, photographs
from steps.encoder import objects
from steps.stage import StageError


@pytest.fixture(scope="module", params=["drawn", "photos"])
def world(request, photographed):
    """160 questions, their scenes, and what fills each pixel."""
    world = params.load(Path(__file__).parents[2] / "params.yaml").world
    world = world if request.param == "drawn" else photographed
    rows, scenes = drawn.draw(world, np.random.default_rng(4), 160, "train", False, 0.5)
    owner = owners(world, scenes)
    return pd.DataFrame(rows), scenes, owner, classes(owner, scenes.shape)


def test_masks_are_the_pixels_of_the_object_asked_about(world):
    table, scenes, owner, shapes = world
    one = np.flatnonzero(objects.about_one(table))
    found = objects.masks(table.iloc[one], shapes[one])
    kinds, exact = set(), []
    for mask, i in zip(found, one, strict=True):
        row, view = table.iloc[i], View(scenes, i)
        named = json.loads(row["truth"])["about"][0].split()
        fits = [  # the objects that the question's words and its answer fit
            k
            for j, k in enumerate(view.rows)
            if {*named, row["value"]} - {"object", "yes"} <= set(view.name(j).split())
        ]
        wanted = [LETTER] if row["kind"] == "glyph" else fits
        exact.append(max((mask == (owner[i] == k)).all() for k in wanted))
        kinds.add(row["kind"])
    assert kinds == set(objects.ONE) & set(table["kind"])
    assert np.mean(exact) > 0.97  # else an object of the same shape reaches into the box


def test_questions_about_no_object_or_several_are_left_out(world):
    table = world[0]
    one = table[objects.about_one(table)]
    assert (one["boxes"].map(len) == 1).all()
    assert not one["kind"].isin(["fact", "count", "relation"]).any()
    assert (one.loc[one["kind"] == "existence", "value"] == "yes").all()
    assert set(table["kind"]) in (set(DRAWN.kinds), set(photographs().kinds))


def test_description_is_the_caption_up_to_the_ground(world):
    table, scenes, _, _ = world
    for i in range(40):
        words = objects.described(table["truth"].iloc[i])
        assert caption(View(scenes, i)).startswith(words + " on a ")


def test_rivals_are_others_of_the_same_kind_with_another_answer(world):
    table = world[0]
    found = objects.rivals(table, 3)
    assert (found != np.arange(len(table))).all()
    other = table.iloc[found].reset_index(drop=True)
    assert (other["kind"] == table["kind"]).all() and (other["value"] != table["value"]).all()
    assert (other["form"] == table["form"]).mean() > 0.9
    assert (found == objects.rivals(table, 3)).all() and (found != objects.rivals(table, 4)).any()
    alone = table.drop_duplicates("kind")
    assert (objects.rivals(alone, 0) != np.arange(len(alone))).all()


def test_pairs_are_joined_with_their_items(world, tmp_path):
    table = world[0].assign(item=[f"i{i}" for i in range(160)])
    table.to_parquet(tmp_path / "train.parquet")
    pairs = table.iloc[::-1][["item", "image", "kind", "form", "style", "prompt", "value"]]
    pairs = pairs.assign(chosen=table["response"], rejected="no", reason="wrong")
    pairs.to_parquet(tmp_path / "pairs.parquet")
    found = objects.asked(tmp_path, tmp_path, 12)
    assert len(found) == 12 and found["chosen"].str.split().str.len().is_monotonic_increasing
    wanted = pairs[objects.about_one(pairs.assign(boxes=table["boxes"]))]["item"].iloc[:12]
    assert set(found["item"]) == set(wanted)
    told = table.set_index("item").loc[found["item"]]
    assert found["truth"].tolist() == told["truth"].tolist()
    with pytest.raises(StageError, match="1 pairs about one object"):
        objects.asked(tmp_path, tmp_path, 1)
    table.iloc[5:].to_parquet(tmp_path / "train.parquet")
    with pytest.raises(StageError, match="no item of"):
        objects.asked(tmp_path, tmp_path, 12)
