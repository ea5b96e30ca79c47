"""A seed's questions: what stood before stays as it was, boxes frame what is seen, far is far."""

import json
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps import params
from steps.data import items
from steps.data import questions as q
from steps.data.far import crowded, reworded
from steps.data.language import View, caption, contents, twin, vocabulary
from steps.data.paint import LETTER, owners, render
from steps.data.requests import put
from steps.data.speech import DRAWN
from steps.data.sprites import PLATE
from steps.data.world import SPLITS, code, sample

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng
SIZES = {"train": 40, "stage1": 40, "tune": 24, "vqa": 40}
TOLD = ["item", "image", "prompt", "response", "value", "choices", "depends", "novel"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the stage wrote, with far questions and without, and its figures."""
    told = params.load(ROOT / "params.yaml")
    found = {}
    for far in (24, 0):
        out = tmp_path_factory.mktemp(f"far{far}")
        sizes = told.items.model_copy(update=SIZES | {"far": far})
        given = SimpleNamespace(
            items=sizes, world=told.world, data=told.data, run=SimpleNamespace(seed=3)
        )
        found[far] = out, items.run(given, {}, out)
    return found


def plain(value):
    return value.tolist() if hasattr(value, "tolist") else value


def test_questions_are_the_same_as_ever(made):
    """Digest of their text taken before there were boxes and far questions: no draw has moved."""
    total = sha256()
    for name in ("train", "tune", "vqa", "stage1"):
        table = pd.read_parquet(made[24][0] / f"{name}.parquet")
        for column in TOLD:
            total.update(repr([plain(value) for value in table[column]]).encode())
    assert total.hexdigest()[:16] == "5137604fde4f6da6"


def test_far_questions_change_no_other_file_and_none_are_allowed(made):
    (some, figures), (none, others) = made[24], made[0]
    files = {path.name for path in some.iterdir()}
    assert files - {path.name for path in none.iterdir()} == {"far.parquet", "far_images.npy"}
    for name in files - {"far.parquet", "far_images.npy"}:
        assert (some / name).read_bytes() == (none / name).read_bytes(), name
    assert (figures["far/items"], others["far/items"]) == (24, 0)
    assert others.items() - figures.items() == {("far/items", 0)} and "far/prior" not in others


def test_far_questions_are_about_more_objects_and_a_new_combination(world, made):
    table = pd.read_parquet(made[24][0] / "far.parquet")
    assert len(table) == len(np.load(made[24][0] / "far_images.npy")) == 24
    assert table["kind"].value_counts().to_dict() == dict.fromkeys(DRAWN.kinds, 3)
    most = world.objects[1]
    for row in table.itertuples():
        named = [name for name, _ in json.loads(row.truth)["things"] if "letter" not in name]
        assert len(named) in (most + 1, most + 2) and row.novel

    rows, scenes = items.draw(crowded(world), RNG(1), 160, "test", True, 0.5, reworded)
    assert set((scenes.shape >= 0).sum(1)) == {most + 1, most + 2}
    assert items.has_novel(scenes).all() and set(code(scenes)) <= set(SPLITS["test"])
    spread = pd.DataFrame(rows)
    assert items.prior(spread) < 0.34
    for kind, part in spread.groupby("kind"):
        assert set(part["value"]) <= set(q.CHOICES.get(kind, part["value"]))
    owner = owners(crowded(world), scenes)
    pixels = np.stack([(owner == k).sum((1, 2)) for k in range(most + 2)], 1)
    assert pixels[scenes.shape >= 0].min() > 10  # nothing is hidden, though it is crowded


def test_far_wording_is_new_and_its_words_are_old(world):
    """Every word stands in some training text, no question does; all else is put as it was."""
    rng, known, asked, far = RNG(0), set(), set(), []
    scenes = sample(world, rng, 400, "train")
    for i in range(len(scenes)):
        view = View(scenes, i)
        known |= set(" ".join([caption(view, "a"), caption(view, "b"), twin(view, rng)[0]]).split())
        for kind in DRAWN.kinds:
            question = q.ask(view, kind, rng)
            for style in "ab" if question else ():
                for form in q.FORMS:
                    one = put(question, style, form)
                    known |= set(f"{one.prompt} {one.response}".split())
                    asked.add(bare(one.prompt, question))
                    new = put(question, style, form, reworded)
                    assert (new.response, new.depends) == (one.response, one.depends)
                    assert new.prompt.endswith(q.ASK[style][form])
                    assert all(subject in new.prompt for subject in question.subject[:1])
                    far.append((new.prompt, bare(new.prompt, question)))
    assert not set(" ".join(prompt for prompt, _ in far).split()) - known
    assert not {template for _, template in far} & asked
    assert len({template for _, template in far}) >= 8
    bundled = json.loads((ROOT / "models/bundled/instruct/tokenizer.json").read_text())
    assert known <= set(bundled["model"]["vocab"]) and known < set(vocabulary())


def bare(prompt, question):
    """A question's template: without what it names and without how it wants to be answered."""
    for end in (end for ways in q.ASK.values() for end in ways.values()):
        prompt = prompt.removesuffix(end)
    for subject in question.subject:
        prompt = prompt.replace(subject, "_")
    return prompt.replace(" an _", " a _")


def test_boxes_frame_what_is_seen_of_what_is_asked_about(world):
    rows, scenes = items.draw(world, RNG(5), 480, "test", True, 0.5)
    owner = render(world, scenes)[1]
    assert np.array_equal(owner, owners(world, scenes))
    framed = 0
    for i, row in enumerate(rows):
        ks = [k for k in range(-2, scenes.shape.shape[1]) if k != -1]
        frames = {k: frame(owner[i] == k) for k in ks}
        found = [k for box in row["boxes"] for k in ks if frames[k] == box]
        assert len(found) == len(row["boxes"]), "a box is that of one thing in the owners' map"
        framed += len(found)
        words = " ".join(contents(View(scenes, i))[j][0] for j in places(scenes, i, found))
        if row["kind"] in ("color", "shape", "size"):
            assert len(found) == 1 and row["value"] in words
        elif row["kind"] == "count":
            assert q.NUMBERS[len(found)] == row["value"]
        elif row["kind"] == "existence":
            assert len(found) == (row["value"] == "yes")
            assert not found or words.split(" ", 1)[1] in row["prompt"]
        elif row["kind"] == "relation":
            (x, y), (other_x, other_y) = (middle(frames[k]) for k in found)
            ahead = {"left": other_x - x, "right": x - other_x, "above": other_y - y}
            assert ahead.get(row["value"], y - other_y) > 5
        elif row["kind"] == "glyph":
            assert found == [LETTER]
            left, top, right, bottom = row["boxes"][0]
            assert (bottom - top, right - left) == PLATE
        else:
            assert row["kind"] == "fact" and not found
    assert framed > 300


def places(scenes, i, owned):
    """Where objects of a scene stand in its View."""
    return [View(scenes, i).rows.index(k) for k in owned if k >= 0]


def middle(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def frame(mask):
    """The box of a mask, row by row and column by column."""
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_truth_tells_the_whole_scene(world):
    rows, scenes = items.draw(world, RNG(6), 80, "tune", False, 0.5)
    for i, row in enumerate(rows):
        told, view = json.loads(row["truth"]), View(scenes, i)
        assert told["canvas"] == world.canvas
        assert told["things"] == [list(thing) for thing in contents(view)]
        assert len(told["things"]) == (scenes.shape[i] >= 0).sum() + (scenes.letter[i] >= 0)
        if row["kind"] == "glyph":
            assert told["about"] == ["letter"]
        else:
            assert all(phrase in row["prompt"] for phrase in told["about"][:1])
