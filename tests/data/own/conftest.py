"""Small data sets in the layouts that people have, of pictures of one colour each."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from steps import params
from steps.data.own import write
from steps.schema.data import Data

ROOT = Path(__file__).parents[3]
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220)}


def colour(i):
    return list(COLOURS)[i % 3]


@pytest.fixture
def paint():
    """Writes a picture: (path, number, size); its first pixels tell its number."""

    def make(path, i, size=(40, 30)):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((size[1], size[0], 3), COLOURS[colour(i)], np.uint8)
        pixels[:4, :4] = i % 256
        Image.fromarray(pixels).save(path)

    return make


@pytest.fixture
def encoded():
    """The bytes of a picture: (number)."""

    def make(i):
        file = io.BytesIO()
        Image.new("RGB", (40, 30), COLOURS[colour(i)]).save(file, "PNG")
        return file.getvalue()

    return make


def talk(question, answer, *more):
    said = [question, answer, *more]
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(said)]


@pytest.fixture
def llava(tmp_path, paint):
    """A folder with LLaVA's JSON of 20 questions, and images/."""
    rows = []
    for i in range(20):
        paint(tmp_path / "images" / f"{i:03d}.png", i)
        rows.append(
            {
                "id": f"q{i}",
                "image": f"{i:03d}.png",
                "conversations": talk("<image>\nwhat colour ?", f"It is {colour(i)}."),
            }
        )
    (tmp_path / "questions.json").write_text(json.dumps(rows))
    return tmp_path


@pytest.fixture
def lines():
    """Writes JSON lines: (path, rows)."""

    def make(path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return make


@pytest.fixture
def table():
    """Writes Parquet: (path, rows, how many of them in a row group)."""

    def make(path, rows, group=5):
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
        return path

    return make


@pytest.fixture
def section():
    """A function: the section `data` of params.yaml with some keys set otherwise."""
    told = params.load(ROOT / "params.yaml").data.model_dump()

    def make(path, **keys):
        keys = {"source": "files", "path": str(path), "size": 32, **keys}
        return Data.model_validate(told | keys)

    return make


@pytest.fixture
def made(section, tmp_path_factory):
    """A function: the stage's folder and figures for a section `data`; counts of sets, seed."""

    def make(path, seed=0, counts=(100, 4, 100), threads=1, **keys):
        out = tmp_path_factory.mktemp("items")
        sizes = dict(zip(("train", "tune", "vqa"), counts, strict=True))
        given = SimpleNamespace(
            data=section(path, **keys),
            items=SimpleNamespace(**sizes),
            run=SimpleNamespace(seed=seed, threads=threads),
        )
        return out, write.run(given, {}, out)

    return make
