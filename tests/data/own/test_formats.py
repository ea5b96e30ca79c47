"""Every format and every preset, from files in their published layouts."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from steps.data.own.presets import PRESETS
from tests.data.own.conftest import COLOURS, colour, talk

SETS = ("train", "tune", "vqa")


def tables(out):
    return pd.concat([pd.read_parquet(out / f"{name}.parquet") for name in SETS])


def seen(out):
    """The colour of each item's stored picture."""
    found = {}
    for name in SETS:
        images = np.load(out / f"{name}_images.npy", allow_pickle=False)
        for row in pd.read_parquet(out / f"{name}.parquet").itertuples():
            mean = images[row.image][16:].mean((0, 1))
            found[row.item] = min(COLOURS, key=lambda c: abs(mean - COLOURS[c]).sum())
    return found


def test_llava_json_becomes_the_world_s_tables(llava, made):
    out, figures = made(llava / "questions.json", images=str(llava / "images"), format="llava",
                        columns={"id": "id"})  # fmt: skip
    told = tables(out)
    assert sorted(told["item"]) == sorted(f"q{i}" for i in range(20))
    assert sum(figures[f"{name}/items"] for name in SETS) == figures["data/rows"] == 20
    assert set(told["prompt"]) == {"what colour ?"}, "an image's tag is the processor's to set"
    assert set(told["kind"]) == set(told["form"]) == {"own"}
    assert set(told["novel"]) == {False} and set(map(len, told["depends"])) == {0}
    for item, shown in seen(out).items():
        row = told.set_index("item").loc[item]
        assert row["response"] == f"It is {shown}." == f"It is {colour(int(item[1:]))}."
    listing = json.loads((out / "listing.json").read_text())
    assert listing["used"] == {n: figures[f"{n}/items"] for n in SETS}
    assert listing["broken"] == 0 and listing["left_out"] == {}


def test_lines_with_nested_columns_and_a_template(tmp_path, paint, lines, made):
    rows = []
    for i in range(12):
        paint(tmp_path / "pics" / f"{i}.png", i)
        rows.append({"meta": {"pic": f"pics/{i}.png"}, "q": [{"text": "colour"}], "a": colour(i)})
    path = lines(tmp_path / "data.jsonl", rows)
    columns = {"image": "meta.pic", "prompt": "What {q.0.text}? {{one word}}", "answer": "a"}
    out, _ = made(path, columns=columns)
    told = tables(out)
    assert set(told["prompt"]) == {"What colour? {one word}"}
    assert set(told["item"]) == {f"data:{i}" for i in range(1, 13)}, "lines count from 1"
    found = seen(out)
    assert all(row.value == found[row.item] for row in told.itertuples())


@pytest.mark.parametrize("held", ["struct", "bytes", "path", "list"])
def test_parquet_with_images_inside_or_beside(tmp_path, paint, encoded, table, made, held):
    rows = []
    for i in range(13):
        if held == "path":
            paint(tmp_path / f"{i}.png", i)
        image = {"bytes": encoded(i), "path": f"{i}.png"}
        shown = {"struct": image, "bytes": encoded(i), "path": f"{i}.png", "list": [image]}
        rows.append({"image": shown[held], "prompt": "colour ?", "answer": colour(i), "x": i})
    for k, part in enumerate((rows[:7], rows[7:])):
        table(tmp_path / "data" / f"train-{k:05d}-of-00002.parquet", part, group=3)
    out, figures = made(tmp_path / "data", images=str(tmp_path), columns={"id": "x"})
    assert sum(figures[f"{name}/items"] for name in SETS) == 13
    assert seen(out) == {str(i): colour(i) for i in range(13)}


def test_several_images_and_none_are_left_out_and_counted(tmp_path, paint, lines, made):
    rows = []
    for i in range(12):
        paint(tmp_path / f"{i}.png", i)
        rows.append({"image": [f"{i}.png"], "prompt": "colour ?", "answer": colour(i)})
    rows += [
        {"image": ["0.png", "1.png"], "prompt": "colour ?", "answer": "red"},
        {"image": [], "prompt": "colour ?", "answer": "red"},
        {"image": "0.png", "prompt": "<image> and <image> ?", "answer": "red"},
        {"image": "0.png", "prompt": "<image>", "answer": "red"},
        {"image": "0.png", "prompt": "colour ?", "answer": " "},
        {"image": "0.png", "prompt": "colour ?" * 1000, "answer": "red"},
        {"image": "0.png", "prompt": "colour ?", "answer": "<image>"},
    ]
    out, figures = made(lines(tmp_path / "a.jsonl", rows))
    listing = json.loads((out / "listing.json").read_text())
    assert listing["left_out"] == {
        "several images": 2,
        "no image": 1,
        "no prompt": 1,
        "no answer": 1,
        "too long": 1,
        "an image's tag in an answer": 1,
    }
    assert figures["data/left_out"] == 7
    rows = pd.read_parquet(out / "listing.parquet")
    assert len(rows) == 19 and list(rows["reason"]).count("") == 12
    assert set(rows.loc[rows["row"] == 13, "reason"]) == {"several images"}


def test_llava_pretrain(tmp_path, paint, made):
    rows = []
    for i in range(9):
        name = f"{i // 3:05d}/{i:09d}.jpg"
        paint(tmp_path / "images" / name, i)
        told = talk("Give a brief description.\n<image>", f"a {colour(i)} card")
        rows.append({"id": f"{i:09d}", "image": name, "conversations": told})
    (tmp_path / "blip_laion_cc_sbu_558k.json").write_text(json.dumps(rows))
    out, _ = made(tmp_path, images=str(tmp_path / "images"), preset="llava_pretrain")
    told = tables(out)
    assert len(told) == 9 and set(told["reward"]) == {"open"}
    assert set(told["prompt"]) == {"Give a brief description."}
    assert list(told["response"]) == [f"a {colour(int(i))} card" for i in told["item"]]


def test_llava_onevision(tmp_path, encoded, table, made):
    rows, choices = [], "\nA. red\nB. green\nC. blue"
    for i in range(12):
        image = {"bytes": encoded(i), "path": f"{i}.png"}
        asked = ["what colour ?", "which ?" + choices, "how many ?", "tell all"][i % 4]
        answer = [colour(i), "ABC"[i % 3], str(i), "There is " + "a lot of it " * 9][i % 4]
        told = talk(f"<image>\n{asked}", answer, "and ?", "no more")
        source = f"set {i % 2}(x)"
        rows.append({"id": "same", "image": image, "conversations": told, "data_source": source})
    rows.append({"id": "text", "image": None, "conversations": talk("2 + 2 ?", "4"),
                 "data_source": "text"})  # fmt: skip
    table(tmp_path / "one" / "train-00000-of-00001.parquet", rows)
    out, _ = made(tmp_path, preset="llava_onevision")
    told = tables(out)
    assert Counter(told["reward"]) == {"exact": 3, "choice": 3, "numeric": 3, "open": 3}
    assert set(told["kind"]) == {"set_0_x", "set_1_x"}
    picked = told[told["reward"] == "choice"]
    found = seen(out)
    assert all(row.value == found[row.item] for row in picked.itertuples())
    assert set(picked["response"]) <= set("ABC"), "SFT learns what the data says"
    listing = json.loads((out / "listing.json").read_text())
    assert listing["later_turns_left_out"] == 12 and listing["left_out"] == {"no image": 1}


def test_mmpr(tmp_path, paint, lines, made):
    meta = {}
    for name in ("cards", "cards_sr0.5"):
        rows = []
        for i in range(6):
            paint(tmp_path / "images" / name / f"{i}.png", i)
            end = f"Final answer: {colour(i)}" if i % 2 else f"It is a {colour(i)} card " * 9
            wrong = end.replace(colour(i), colour(i + 1))
            asked = {"image": f"{i}.png", "question": "<image>\nwhat colour ?"}
            rows.append(asked | {"chosen": f"I look.\n{end}", "rejected": f"I look.\n{wrong}"})
        rows.append(rows[0] | {"rejected": rows[0]["chosen"]})
        rows.append(rows[0] | {"image": ["0.png", "1.png"]})
        lines(tmp_path / "annotations" / f"{name}.jsonl", rows)
        meta[name] = {
            "root": f"MMPR-v1.2/images/{name}",
            "annotation": f"MMPR-v1.2/annotations/{name}.jsonl",
            "repeat_time": 3,
        }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    out, _ = made(tmp_path, preset="mmpr")
    told = tables(out)
    assert len(told) == 12 and list(told["chosen"]) == list(told["response"])
    assert Counter(told["reward"]) == {"exact": 6, "open": 6}
    found = seen(out)
    for row in told.itertuples():
        assert found[row.item] in row.chosen and found[row.item] not in row.rejected
        assert row.reward == "open" or row.value == found[row.item]
    listing = json.loads((out / "listing.json").read_text())
    assert listing["left_out"] == {"chosen and rejected are the same": 2, "several images": 2}


def test_virl39k(tmp_path, paint, table, made):
    rows = []
    for i in range(12):
        paint(tmp_path / "images" / f"v{i}.png", i)
        asked = ["how many ?", "which ?\nA. one\nB. two", "what ?"][i % 3]
        answer = [f"\\boxed{{{i}}}", "\\boxed{B}", "\\boxed{x+1}"][i % 3]
        rows.append(
            {
                "question": f"<image>{asked}",
                "answer": answer,
                "PassRate_32BTrained": 0.5,
                "category": "STEM: Math",
                "source": "x",
                "qid": f"v-{i}",
                "image": [f"images/v{i}.png"],
            }
        )
    rows.append(rows[0] | {"qid": "two", "image": ["images/v0.png", "images/v1.png"]})
    table(tmp_path / "39Krelease.parquet", rows)
    out, _ = made(tmp_path / "39Krelease.parquet", preset="virl39k")
    told = tables(out).set_index("item")
    assert sorted(told.index) == sorted(f"v-{i}" for i in range(12))
    assert Counter(told["reward"]) == {"numeric": 4, "choice": 4, "exact": 4}
    assert told.loc["v-1", "value"] == "two" and told.loc["v-3", "value"] == "3"
    assert told["prompt"].str.endswith("Put the answer into \\boxed{}.").all()
    assert set(told["kind"]) == {"stem_math"}


def test_vsr(tmp_path, paint, lines, made):
    def rows(count, first):
        for i in range(first, first + count):
            paint(tmp_path / "images" / f"{i:012d}.jpg", i)
            yield {"image": f"{i:012d}.jpg", "image_link": "none",
                   "caption": f"The cat {i} is behind the box.", "label": i % 2,
                   "relation": "at the left of" if i % 3 else "behind"}  # fmt: skip

    lines(tmp_path / "train.jsonl", list(rows(8, 0)))
    lines(tmp_path / "test.jsonl", list(rows(4, 8)))
    out, figures = made(tmp_path / "train.jsonl", images=str(tmp_path / "images"), preset="vsr",
                        test_path=str(tmp_path / "test.jsonl"))  # fmt: skip
    assert figures["vqa/items"] == 4 and figures["train/items"] + figures["tune/items"] == 8
    told = pd.read_parquet(out / "vqa.parquet")
    assert sorted(told["item"]) == [f"test/test:{i}" for i in range(1, 5)]
    assert list(told["choices"].map(list)) == [["no", "yes"]] * 4
    for row in told.itertuples():
        number = int(row.prompt.split()[9])
        assert row.value == row.response == ("no", "yes")[number % 2]
        assert row.prompt.endswith('is behind the box."? Answer yes or no.')
    assert set(told["kind"]) == {"at_the_left_of", "behind"}


def test_every_preset_is_tried_here():
    here = [name.removeprefix("test_") for name in globals() if name.startswith("test_")]
    assert set(PRESETS) <= set(here)
