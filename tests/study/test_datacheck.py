"""A look at one's own data: what is counted, what is a double, and that its text stays text."""

import base64
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from steps import params
from steps.params import ParamsError
from steps.schema.data import Data
from steps.study import datacheck

ROOT = Path(__file__).parents[2]
EVIL = '<script>alert("x")</script>'


def paint(path, i):
    pixels = np.full((30, 40, 3), (40 * (i % 5), 90, 140), np.uint8)
    pixels[:4, :4] = i
    Image.fromarray(pixels).save(path)


@pytest.fixture
def study(tmp_path):
    """A function: params of a study of 20 questions, with some rows changed: number to keys."""

    def make(changes=None, tested=(), **keys):
        rows = []
        for i in range(20):
            paint(tmp_path / f"{i}.png", i)
            answer = f"a{i % 3}"
            rows.append({"id": f"q{i}", "image": f"{i}.png", "prompt": f"which {i} ?",
                         "answer": answer})  # fmt: skip
        for i, told in (changes or {}).items():
            rows[i] |= told
        path = tmp_path / "data.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        if tested:
            keys["test_path"] = str(tmp_path / "test.jsonl")
            text = "".join(json.dumps(row) + "\n" for row in tested)
            (tmp_path / "test.jsonl").write_text(text)
        plain = params.load(ROOT / "params.yaml").data.model_dump()
        told = {"source": "files", "path": str(path), "size": 32, "columns": {"id": "id"}}
        return SimpleNamespace(
            data=Data.model_validate(plain | told | keys),
            items=SimpleNamespace(train=100, tune=2, vqa=100),
            study=SimpleNamespace(name="mine"),
            seeds=[0],
        )

    return make


def test_counts_lengths_and_answers(study, tmp_path):
    told = datacheck.look(study({3: {"answer": ""}}), tmp_path / "out")
    assert told["rows"] == 20 and told["left_out"] == {"no answer": 1}
    sets = told["sets"]
    assert sum(facts["items"] for facts in sets.values()) == 19 and told["images_opened"] == 19
    whole = {}
    for facts in sets.values():
        for answer, n in facts["answers"].items():
            whole[answer] = whole.get(answer, 0) + n
        assert facts["prompt"]["words"] == [3, 3, 3, 3]
        assert facts["rewards"] == {"exact": facts["items"]}
        assert facts["commonest_answer"] == max(facts["answers"].values()) / facts["items"]
    assert whole == {"a0": 6, "a1": 7, "a2": 6}
    assert json.loads((tmp_path / "out" / "data-check.json").read_text())["sets"] == sets
    said = datacheck.said(told, tmp_path / "out")
    assert "20 rows" in said and "left out: 1 no answer" in said and "data-check.html" in said


def test_doubles_within_and_between_sets(study, tmp_path):
    tested = [
        {"id": "t0", "image": "twin.png", "prompt": "which 0 ?", "answer": "a0"},
        {"id": "t1", "image": "0.png", "prompt": "another", "answer": "a0"},
        {"id": "t2", "image": "5.png", "prompt": "which 5 ?", "answer": "a0"},
    ]
    paint(tmp_path / "twin.png", 0)
    told = datacheck.look(
        study({1: {"image": "0.png", "prompt": "which 0 ?"}}, tested), tmp_path / "out"
    )
    images, asked = told["doubles"]["equal images"], told["doubles"]["equal questions"]
    # twin.png is 0.png under another name; q0 and q1 ask the same of it, and so does t0
    names = {frozenset(part.split(" ")[0] for part in group) for group in asked["items"]}
    assert names == {frozenset({"q0", "q1", "test/t0"}), frozenset({"q5", "test/t2"})}
    assert len(images["items"]) == 1, "one image that is asked about twice is no double"
    between = [n for where, n in asked["numbers"].items() if where.endswith("and vqa")]
    assert sum(between) == 2


def test_broken_items_are_told(study, tmp_path):
    given = study()
    (tmp_path / "4.png").write_bytes(b"")
    told = datacheck.look(given, tmp_path / "out")
    assert told["broken_items"] == {"q4": "empty (0 bytes)"}
    page = (tmp_path / "out" / "data-check.html").read_text()
    assert "1 items are broken" in page and "empty (0 bytes)" in page


def test_the_page_is_whole_and_text_stays_text(study, tmp_path):
    keys = {"prompt": EVIL, "answer": EVIL, "id": EVIL}
    datacheck.look(study({i: keys | {"id": f"{EVIL}{i}"} for i in range(20)}), tmp_path / "out")
    page = (tmp_path / "out" / "data-check.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 20
    assert "http" not in page.replace("http-equiv", "") and "prefers-color-scheme: dark" in page


def test_boxes_are_drawn(study, tmp_path):
    rows = {i: {"box": [0, 0, 20, 15]} for i in range(20)}
    columns = {"id": "id", "box": "box"}
    datacheck.look(study(rows, columns=columns), tmp_path / "out")
    page = (tmp_path / "out" / "data-check.html").read_text()
    assert "judged by iou" in page
    shown = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert len(shown) == 20
    for data in shown:  # the upper edge is red as far as the box goes, which is half of it
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
        red = (picture[..., 0] > 150) & (picture[..., 1:].max(-1) < 130)
        assert 0.4 < red[0].mean() < 0.6 and 0.015 < red.mean() < 0.3


def test_the_embedded_world_is_no_data_of_one_s_own(tmp_path):
    told = params.load(ROOT / "params.yaml")
    with pytest.raises(ParamsError, match=r"data\.source = 'world': this study's questions are"):
        datacheck.look(told, tmp_path)
