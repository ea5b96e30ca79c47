"""The study that a user copies, from a folder of 20 pictures to answers of a trained arm."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from steps import params
from steps.data import items
from steps.data.paint import render
from steps.stage import execute
from steps.study.overlay import effective, merge

ROOT = Path(__file__).parents[3]
SMALL = {
    "study": {"name": "own_data"},
    "items": {"train": 100, "tune": 2, "vqa": 100},
    "pairs": {"draws": 2, "temperature": 2.0},
    "train": {"batch": 4, "micro_batch": 4},
    "sft": {"epochs": 1.0},
    "vqa": {"blind": 4},
}


@pytest.fixture
def folder(tmp_path):
    """LLaVA's JSON of the world's own questions, whose words the bundled base knows."""
    world = params.load(ROOT / "params.yaml").world
    rows, scenes = items.draw(world, np.random.default_rng(0), 20, "train", False, 0.5)
    (tmp_path / "images").mkdir()
    told = []
    for i, (row, shown) in enumerate(zip(rows, render(world, scenes)[0], strict=True)):
        Image.fromarray(shown).save(tmp_path / "images" / f"{i}.png")
        said = [("human", f"<image>\n{row['prompt']}"), ("gpt", row["response"])]
        talk = [{"from": who, "value": text} for who, text in said]
        told.append({"id": str(i), "image": f"{i}.png", "conversations": talk})
    (tmp_path / "questions.json").write_text(json.dumps(told))
    return tmp_path


@pytest.mark.slow
def test_from_a_folder_to_answers(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    values = merge(effective(params.read_yaml(ROOT / "params.yaml"), "own_data"), SMALL)
    where = {"path": str(folder / "questions.json"), "images": str(folder / "images")}
    values = merge(values, {"data": where})
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(values))
    results, base = tmp_path / "results" / "own_data", ROOT / "models" / "bundled"

    def run(stage, keys, out, inputs, **who):
        inputs = {k: results / v if isinstance(v, str) else v for k, v in inputs.items()}
        return execute(stage, file, results / out, keys, inputs, seed=0, **who)

    made = run("items", ["world", "items", "data"], "items/seed0", {})
    assert made["train/items"] + made["tune/items"] + made["vqa/items"] == 20
    pairs = run("pairs", ["pairs"], "pairs/seed0", {"base": base, "items": "items/seed0"},
                base="bundled")  # fmt: skip
    assert 4 <= pairs["pairs/kept"] <= made["train/items"]
    inputs = {"base": base, "items": "items/seed0", "pairs": "pairs/seed0"}
    who = {"base": "bundled", "arm": "sft"}
    trained = run("sft", ["train", "sft", "arms.sft"], "model/sft/seed0", inputs, **who)
    assert min(trained[f"dose/{part}"] for part in ("tower", "projector", "language")) > 0
    inputs = {"model": "model/sft/seed0", "items": "items/seed0"}
    judged = run("vqa", ["vqa"], "vqa/sft/seed0", inputs, **who)
    told = pd.read_parquet(results / "vqa/sft/seed0/items.parquet")
    seen = told[told["instrument"] == "vqa"]
    assert len(seen) == made["vqa/items"] and judged["vqa/lenient"] == seen["lenient"].mean()
    assert {"vqa_grey", "vqa_swapped"} <= set(told["instrument"])
    ids = set(pd.read_parquet(results / "items/seed0/vqa.parquet")["item"])
    assert set(seen["item"]) == ids and "" not in set(seen["raw"])
