"""Bad data: one sentence that names it and the way out."""

import json
import zlib

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from steps.data.own import ready, write
from steps.stage import StageError
from tests.data.own.conftest import colour


@pytest.fixture
def good(tmp_path, paint, lines):
    """12 good rows as JSON lines, which a function writes with some changed: number to keys."""

    def make(changes=None, name="data.jsonl", count=12):
        rows = []
        for i in range(count):
            paint(tmp_path / f"{i}.png", i)
            rows.append({"id": i, "image": f"{i}.png", "prompt": "colour ?", "answer": colour(i)})
        for i, keys in (changes or {}).items():
            rows[i] |= keys
        return lines(tmp_path / name, rows)

    return make


def said(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_path_that_is_not_there(tmp_path, made):
    with pytest.raises(StageError, match="nowhere: there is no such file or folder: give where"):
        made(tmp_path / "nowhere")


def test_a_folder_without_data(tmp_path, made):
    (tmp_path / "readme.md").write_text("no data")
    with pytest.raises(StageError, match=r"holds no \.json or .*\.parquet file: give the file"):
        made(tmp_path)


def test_a_folder_of_two_kinds(good, table, made):
    path = good()
    table(path.parent / "x.parquet", [{"a": 1}])
    with pytest.raises(StageError, match=r"holds \.jsonl and \.parquet files: say in data\.format"):
        made(path.parent)


def test_lines_cut_in_the_middle(good, made):
    path = good()
    text = path.read_text()
    path.write_text(text[: len(text) - 20])
    with pytest.raises(StageError, match=r"data\.jsonl, line 12 is cut off: mend or remove"):
        made(path)
    path.write_text(text.replace('"prompt": "colour ?", "answer": "green"', '"prompt": oops', 1))
    with pytest.raises(StageError, match=r"line 2 is not JSON \(Expecting value"):
        made(path)


def test_a_list_cut_in_the_middle(llava, made):
    path = llava / "questions.json"
    path.write_text(path.read_text()[:-150])
    with pytest.raises(StageError, match=r"questions\.json: item 19 of the list is cut off") as e:
        made(path, format="llava")
    said(e)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_list_is_read_in_pieces(llava, made, monkeypatch, size):
    monkeypatch.setattr("steps.data.own.source.CHUNK", size)
    _, figures = made(llava / "questions.json", images=str(llava / "images"), format="llava")
    assert figures["data/rows"] == 20


def test_a_wrong_layout(good, llava, made):
    path = good()
    with pytest.raises(StageError, match=r"is no JSON list, as LLaVA's files are: give data\.form"):
        made(path, format="llava")
    with pytest.raises(StageError, match=r"line 1 .* \(a JSON list needs data\.format = llava\)|"
                       "line 1 is a list"):  # fmt: skip
        made(llava / "questions.json", format="jsonl")
    with pytest.raises(StageError, match=r"is no Parquet file: give data\.format = auto"):
        made(path, format="parquet")
    path.with_suffix(".parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(StageError, match=r"cannot be read as Parquet \(21 bytes\): fetch it"):
        made(path.with_suffix(".parquet"))


def test_a_column_that_is_not_there_names_those_that_are(good, made):
    with pytest.raises(
        StageError,
        match=r"data\.columns\.answer = 'label': no row of .*data\.jsonl has it; there are "
        r"id, image, prompt, answer: name one of these",
    ) as error:
        made(good(), columns={"answer": "label"})
    said(error)


def test_a_column_that_parquet_does_not_have(tmp_path, encoded, table, made):
    rows = [{"image": {"bytes": encoded(i), "path": None}, "q": "?", "a": "b"} for i in range(9)]
    path = table(tmp_path / "a.parquet", rows)
    with pytest.raises(StageError, match=r"data\.columns\.prompt = 'prompt': no row of .*"):
        made(path)


def test_ids_that_two_items_bear(good, made):
    with pytest.raises(
        StageError, match=r"data\.jsonl, row 5: the id '1' is also that of row 2 of data\.jsonl"
    ):
        made(good({4: {"id": 1}}), columns={"id": "id"})
    same = {"id": 1, "image": "1.png", "answer": colour(1)}
    out, _ = made(good({4: same}), columns={"id": "id"})
    told = json.loads((out / "listing.json").read_text())["left_out"]
    assert told == {"the same item again": 1}


def vast():
    """A PNG that says it has 30,000 x 30,000 pixels; its header is whole, the rest is not read."""
    size = (30_000).to_bytes(4) * 2
    head = b"IHDR" + size + b"\x08\x02\x00\x00\x00"
    parts = [len(head[4:]).to_bytes(4), head, zlib.crc32(head).to_bytes(4)]
    data = zlib.compress(bytes(100))
    body = b"IDAT" + data
    parts += [len(data).to_bytes(4), body, zlib.crc32(body).to_bytes(4)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def broken(made, path, **keys):
    out, figures = made(path, broken_share=0.5, **keys)
    told = json.loads((out / "listing.json").read_text())
    assert figures["data/broken"] == told["broken"] == len(told["items"])
    rows = pd.read_parquet(out / "listing.parquet").to_dict("records")
    assert {row["id"]: row["reason"] for row in told["items"]} == {
        row["item"]: row["reason"] for row in rows if row["reason"]
    }
    return out, told


def test_broken_images_are_listed_and_never_replaced(good, made, tmp_path):
    path = good(count=40)
    Image.new("RGB", (1, 1)).save(tmp_path / "1.png")
    (tmp_path / "2.png").unlink()
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:80])
    (tmp_path / "4.png").write_text("no picture")
    (tmp_path / "5.png").write_bytes(vast())
    out, told = broken(made, path)
    assert {row["id"]: row["reason"] for row in told["items"]} == {
        "data:2": "too small (1 x 1 pixels)",
        "data:3": "missing",
        "data:4": "truncated",
        "data:5": "not an image",
        "data:6": "too large (in pixels)",
    }
    tables = [pd.read_parquet(out / f"{name}.parquet") for name in write.SETS]
    assert sum(map(len, tables)) == 35
    with pytest.raises(StageError, match=r"items are broken, more than data\.broken_share = 0\.01"):
        made(path)


def test_bytes_that_a_table_lacks(tmp_path, encoded, table, made):
    rows = [
        {"image": {"bytes": encoded(i) if i % 4 else None, "path": "x"}, "prompt": "?",
         "answer": colour(i)}
        for i in range(12)
    ]  # fmt: skip
    _, told = broken(made, table(tmp_path / "a.parquet", rows))
    assert told["reasons"] == {"missing: the table holds no bytes for it": 3}


def test_no_items_left(good, made):
    path = good({i: {"answer": ""} for i in range(12)})
    with pytest.raises(StageError, match=r"no items are left of 12 rows \(12 no answer\): look"):
        made(path)
    path.write_text("")
    with pytest.raises(StageError, match=r"no items are left of 0 rows \(no rows\)"):
        made(path)
    with pytest.raises(StageError, match="no items are left for tune: 2 items have to show"):
        made(good(count=2))


def test_answers_that_no_reward_fits(good, made):
    with pytest.raises(StageError, match=r"12 the answer is not one number"):
        made(good(), reward="numeric")
    with pytest.raises(StageError, match=r"12 no choices"):
        made(good(), reward="choice")
    out, _ = made(good({3: {"answer": "7"}}), reward=["numeric", "exact"])
    told = pd.concat([pd.read_parquet(out / f"{name}.parquet") for name in write.SETS])
    assert told["reward"].value_counts().to_dict() == {"exact": 11, "numeric": 1}


def test_what_is_missing_is_told_before_anything_runs(tmp_path, good, section):
    path = good()
    reward = tmp_path / "mine.py"
    told = list(
        ready.missing(
            section(tmp_path / "no.json", images=str(tmp_path / "none"), reward=f"{reward}:f",
                    test_path=str(tmp_path / "nor.json"))
        )
    )  # fmt: skip
    assert [text.split(":")[0].split(" = ")[0] for text in told] == [
        "data.path", "data.test_path", "data.images", "data.reward"
    ]  # fmt: skip
    reward.write_text("def g():\n    pass\n")
    (only,) = ready.missing(section(path, reward=f"{reward}:f"))
    assert "mine.py has no function f; there are g" in only
    assert not list(ready.missing(section(path, reward=f"{reward}:g")))


def test_another_file_or_reward_is_other_data(tmp_path, good, section):
    path, reward = good(), tmp_path / "mine.py"
    reward.write_text("def f(completions, **columns):\n    return [0.0]\n")
    data = section(path, reward=f"{reward}:f", images=str(tmp_path))
    seen = {ready.text(data)}
    reward.write_text(reward.read_text().replace("0.0", "1.0"))
    seen.add(ready.text(data))
    path.write_text(path.read_text().replace("red", "rot"))
    seen.add(ready.text(data))
    (tmp_path / "new.png").write_bytes(b"")
    seen.add(ready.text(data))
    assert len(seen) == 4 and ready.text(data) in seen
    noted = tmp_path / "noted" / "data.json"
    noted.parent.mkdir()
    noted.write_text(ready.text(data))
    with pytest.raises(StageError, match="is not what .* tells of: run the study again"):
        ready.unchanged(data, noted)  # noted lies beside the images: one more name there


def test_meta_json_that_is_no_table(tmp_path, made):
    (tmp_path / "meta.json").write_text('["no"]')
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(StageError, match=r"meta\.json does not name a root and an annotation"):
        made(tmp_path, preset="mmpr")
