"""What is written: sets that share no image, arrays of bounded memory, masks, boxes, listings."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from steps.data.own import boxes, write
from steps.data.own.images import Array
from tests.data.own.conftest import ROOT, colour

SETS = ("train", "tune", "vqa")


@pytest.fixture
def shared(tmp_path, paint, lines):
    """60 questions about 20 images."""
    rows = []
    for i in range(60):
        paint(tmp_path / f"{i % 20}.png", i % 20)
        rows.append({"image": f"{i % 20}.png", "prompt": f"question {i}", "answer": colour(i % 20)})
    return lines(tmp_path / "data.jsonl", rows)


def read(out):
    return {name: pd.read_parquet(out / f"{name}.parquet") for name in SETS}


def names(out, table):
    listing = pd.read_parquet(out / "listing.parquet").set_index("item")["image"]
    return set(listing[table["item"]])


def test_sets_share_no_image_and_every_image_is_stored_once(shared, made):
    out, figures = made(shared, counts=(100, 6, 100), test_share=0.3)
    told = read(out)
    images = {name: names(out, table) for name, table in told.items()}
    assert sum(map(len, told.values())) == 60 and sum(map(len, images.values())) == 20
    assert len(set.union(*images.values())) == 20, "no image is in two sets"
    assert 15 <= len(told["vqa"]) <= 21 and 3 <= len(told["tune"]) <= 9
    for name, table in told.items():
        stored = np.load(out / f"{name}_images.npy", allow_pickle=False)
        assert stored.shape == (len(images[name]), 32, 32, 3) and stored.dtype == np.uint8
        assert list(table["scene"]) == list(table["image"])
        assert set(table["image"]) == set(range(len(stored)))
        assert figures[f"{name}/items"] == len(table)


def test_seeds_judge_the_same_and_train_on_other_draws(shared, made):
    counts = (20, 5, 10)
    first, again = (read(made(shared, seed=0, counts=counts)[0]) for _ in range(2))
    other = read(made(shared, seed=1, counts=counts)[0])
    for name in SETS:
        pd.testing.assert_frame_equal(first[name], again[name])
        assert len(first[name]) == counts[SETS.index(name)]
    assert first["vqa"].equals(other["vqa"]) and first["tune"].equals(other["tune"])
    assert set(first["train"]["item"]) != set(other["train"]["item"])
    out, _ = made(shared, counts=counts)
    listing = pd.read_parquet(out / "listing.parquet")
    assert list(listing["set"]).count("") == 60 - 35
    assert set(listing.loc[listing["set"] == "", "reason"]) == {"not drawn"}
    assert json.loads((out / "listing.json").read_text())["left_out"] == {"not drawn": 25}


def test_a_limit_draws_the_same_items_whatever_else_there_is(shared, made):
    def kept(path):
        out, figures = made(path, limit=30)
        listing = pd.read_parquet(out / "listing.parquet")
        beyond = listing["reason"] == "beyond data.limit"
        assert beyond.sum() == figures["data/rows"] - 30
        return set(listing.loc[~beyond, "item"])

    whole = kept(shared)
    text = shared.read_text().splitlines(keepends=True)
    shared.write_text("".join(text[:50]))
    fewer = kept(shared)
    assert len(whole) == len(fewer) == 30
    assert {i for i in whole if int(i.split(":")[1]) <= 50} <= fewer


def test_threads_change_nothing(shared, made):
    one, four = (made(shared, threads=n)[0] for n in (1, 4))
    for name in SETS:
        for end in (".parquet", "_images.npy"):
            assert (one / f"{name}{end}").read_bytes() == (four / f"{name}{end}").read_bytes()


def test_an_array_grows_row_by_row(tmp_path):
    array, rng = Array(tmp_path / "a.npy", (4, 4, 3)), np.random.default_rng(0)
    rows = rng.integers(0, 256, (1234, 4, 4, 3), np.uint8)
    assert [array.add(row) for row in rows[:1234]] == list(range(1234))
    array.close()
    found = np.load(tmp_path / "a.npy", mmap_mode="r", allow_pickle=False)
    assert np.array_equal(found, rows)
    np.save(tmp_path / "b.npy", rows)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


GROW = """
import resource, sys
from pathlib import Path
from steps.data.own.images import Array, opened
count, where = int(sys.argv[1]), Path(sys.argv[2])
array = Array(where / "all.npy", (224, 224, 3))
def many():
    for _ in range(count // 100):
        yield from opened([(where / f"{i}.png", None) for i in range(100)], 224, "squash", 2)
for n, (_, shown) in enumerate(many()):
    array.add(shown.pixels)
    if n == 99:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
array.close()
print(array.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_data(tmp_path, paint):
    for i in range(100):
        paint(tmp_path / f"{i}.png", i)
    command = [sys.executable, "-c", GROW, "1500", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    rows, grown = map(int, done.stdout.split())
    assert rows == 1500
    assert grown < 40_000, f"{grown} kB more for 1,400 images, which are 210,000 kB on disk"


def test_masks_become_maps_and_boxes(tmp_path, paint, lines, made):
    rows = []
    for i in range(12):
        paint(tmp_path / f"{i}.png", i, (64, 64))
        mask = np.zeros((64, 64), np.uint8)
        mask[8:32, 16:48] = 255 if i % 2 else 1
        Image.fromarray(mask).save(tmp_path / f"m{i}.png")
        rows.append({"image": f"{i}.png", "prompt": "?", "answer": "x", "mask": f"m{i}.png"})
    rows.append(rows[0] | {"mask": ""})
    out, _ = made(lines(tmp_path / "a.jsonl", rows), columns={"mask": "mask"})
    table = pd.read_parquet(out / "train.parquet")
    maps = np.load(out / "train_maps.npy", allow_pickle=False)
    assert maps.shape == (len(table), 32, 32) and set(np.unique(maps)) == {0, 1}
    assert (maps[:, 4:16, 8:24] == 1).all() and maps.sum() == len(table) * 12 * 16
    assert [[list(box) for box in row] for row in table["boxes"]] == [[[8, 4, 24, 16]]] * len(table)
    assert json.loads((out / "listing.json").read_text())["left_out"] == {"no mask": 1}
    Image.new("L", (10, 10)).save(tmp_path / "m0.png")
    out, told = made(tmp_path / "a.jsonl", columns={"mask": "mask"}, broken_share=0.5)
    assert told["data/broken"] == 1


@pytest.mark.parametrize(
    ("box", "fit", "found"),
    [
        ([0, 0, 50, 50], "squash", [0, 0, 0.25, 0.5]),
        ([0.25, 0, 0.5, 1], "squash", [0.25, 0, 0.5, 1]),
        ([50, 0, 100, 50], "crop", [0, 0, 0.5, 0.5]),  # of 200 x 100 the middle 100 are left
        ([0, 0, 40, 50], "crop", None),
        ([30, 0, 70, 100], "crop", [0, 0, 0.2, 1]),  # half of it is left
        ([29, 0, 70, 100], "crop", None),
    ],
)
def test_boxes_go_with_the_image(box, fit, found):
    assert boxes.fitted(box, (200, 100), fit) == (found and pytest.approx(found))


def test_a_box_is_the_answer_where_one_is_named(tmp_path, paint, lines, made):
    rows = []
    for i in range(12):
        paint(tmp_path / f"{i}.png", i, (200, 100))
        rows.append({"image": f"{i}.png", "prompt": "where ?", "at": [50, 0, 100, 50]})
    rows[3]["at"], rows[4]["at"] = [100, 0, 50, 50], [0, 0, 10, 50]
    rows[5]["at"] = None
    path = lines(tmp_path / "a.jsonl", rows)
    columns = {"box": "at", "answer": "prompt"}
    keys = {"columns": columns, "fit": "crop", "broken_share": 0.2}
    out, _ = made(path, reward="iou", **keys)
    told = json.loads((out / "listing.json").read_text())
    assert told["left_out"] == {"an empty box": 1, "no box": 1}
    assert told["reasons"] == {"its box is cut off": 1}
    row = pd.read_parquet(out / "train.parquet").iloc[0]
    assert row["value"] == "[0.000, 0.000, 0.500, 0.500]" and row["response"] == "where ?"
    assert [list(box) for box in row["boxes"]] == [[0, 0, 16, 16]]


def test_a_reward_file_is_kept_as_it_was(tmp_path, shared, made):
    mine = tmp_path / "mine.py"
    mine.write_text("def f(completions, **columns):\n    return [1.0] * len(completions)\n")
    out, _ = made(shared, reward=f"{mine}:f", tolerance=0.25)
    told = json.loads((out / "reward.json").read_text())
    assert (told["function"], told["tolerance"]) == ("f", 0.25)
    assert (out / "reward.py").read_text() == mine.read_text()
    assert set(read(out)["vqa"]["reward"]) == {f"{mine}:f"}
    mine.write_text("import nowhere_to_be_found\ndef f(): pass\n")
    with pytest.raises(ValueError, match="cannot be run"):
        made(shared, reward=f"{mine}:f")


def test_the_share_of_broken_items_stops_a_long_run_early(tmp_path, shared, made, monkeypatch):
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(b"")
    monkeypatch.setattr(write, "EVERY", 5)
    with pytest.raises(ValueError, match=r"15 of 1\d items are broken, .*15 empty \(0 bytes\)"):
        made(shared, counts=(100, 1, 100), test_share=0.05)
