"""Two checkpoints side by side: a base beside itself, and beside a copy whose tower was moved."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steps.stage import Missing, StageError
from steps.study import look as looks
from steps.study import look_page, look_rows

BASE = Path(__file__).parents[2] / "models/bundled/instruct"
FEW = {
    "items": {"train": 48, "stage1": 2, "tune": 2, "vqa": 24, "far": 0},
    "probes": {
        "classify_train": 120,
        "classify_test": 40,
        "segment_train": 24,
        "segment_test": 8,
        "photos": "off",
    },
    "pairs": {"draws": 2},
    "vqa": {"blind": 0},
    "drift": {"images": 32, "bootstrap": 20},
    "localise": {"items": 6},
    "segment": {"epochs": 1},
}


@pytest.fixture(scope="module")
def few():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "LESS", FEW)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of two classes of images, and questions about some of them."""
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    lines = []
    for name, level in (("dark", 40), ("light", 200)):
        (folder / name).mkdir()
        for number in range(10):
            noise = rng.integers(0, 40, (70, 70, 3)) + level
            Image.fromarray(noise.astype(np.uint8)).save(folder / name / f"{number}.png")
        prompt = "what color is the circle ? one word ."
        lines.append({"image": f"{name}/0.png", "prompt": prompt, "answer": "red"})
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def summary(page):
    return json.loads(page.with_name("summary.json").read_text())


@pytest.mark.slow
def test_a_base_beside_itself_differs_in_nothing(few, tmp_path):
    found = summary(looks.look(BASE, BASE, None, tmp_path / "look"))
    assert found["notes"] == [] and found["config"] == []
    assert found["models"]["base"]["sha256"] == found["models"]["arm"]["sha256"]
    groups = {row["group"].split(",")[0] for row in found["rows"]}
    assert len(groups) == 5
    for row in found["rows"]:
        if row["group"] != "drift of the eye":
            assert row["base"] == row["arm"] and row["difference"] == 0, row
            assert row["low"] == row["high"] == 0, row
        elif "weights" in row["label"]:
            assert row["arm"] == 0, row


@pytest.mark.slow
def test_a_moved_tower_is_seen_on_the_page(few, data, tmp_path):
    import torch

    from steps.models import load

    arm = tmp_path / "<b>moved"
    shutil.copytree(BASE, arm)
    model = load.vlm(arm)
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in model.model.vision_tower.parameters():
            weights += 0.3 * weights.std() * torch.randn_like(weights) if weights.ndim > 1 else 0
    model.save_pretrained(arm)
    config = json.loads((arm / "config.json").read_text())
    (arm / "config.json").write_text(json.dumps(config | {"_name_or_path": "<i>mine"}))
    page = looks.look(BASE, arm, data, tmp_path / "look")
    found = summary(page)
    drift = {r["label"]: r["arm"] for r in found["rows"] if r["group"] == "drift of the eye"}
    assert drift["weights/layer1"] > 0.1 and drift["cka/layer1"] < 1
    assert any(r["difference"] for r in found["rows"] if "difference" in r)
    labels = {r["label"] for r in found["rows"]}
    assert any("own" in label for label in labels) and "own questions" in labels
    html = page.read_text()
    assert "weights/layer1" in html and "data:image/png;base64," in html
    assert "<b>moved" not in html and "&lt;b&gt;moved" in html
    assert "<i>mine" not in html
    assert "<script" not in html and not re.search(r"(?:src|href)=\"(?!data:)", html)


def test_what_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(Missing, match="ARM = .*no such folder"):
        looks.look(BASE, tmp_path / "none", None, tmp_path / "look")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("years of work")
    with pytest.raises(StageError, match="OUT = .* holds other files"):
        looks.look(BASE, BASE, None, tmp_path / "full")
    with pytest.raises(Missing, match=r"has no \*.safetensors"):
        looks.look(tmp_path / "full", BASE, None, tmp_path / "look")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"image": "a.png", "prompt"', "line 1: give image, prompt and answer"),
        ('{"image": "a.png", "prompt": "?", "answer": "two words"}', "must be one word"),
        ('{"image": "a.png", "prompt": "?", "answer": "red"}', "there is no image"),
        ("", "is empty"),
    ],
)
def test_questions_that_cannot_be_asked_are_named(tmp_path, line, says):
    (tmp_path / "items.jsonl").write_text(line)
    with pytest.raises(StageError, match=says):
        look_rows.questions(tmp_path)


def test_the_difference_of_mean_iou_is_worked_by_hand(tmp_path):
    def maps(*images):
        return [json.dumps({"background": b, "disc": d}) for b, d in images]

    for whose, raw in (
        ("base", maps(([8, 0, 0], [1, 1, 0]), ([8, 0, 0], [1, 1, 0]))),
        ("arm", maps(([8, 0, 0], [2, 0, 0]), ([8, 0, 0], [1, 1, 0]))),
    ):
        (tmp_path / whose).mkdir()
        table = pd.DataFrame({"instrument": "segment/shape", "item": ["a", "b"], "raw": raw})
        table.to_parquet(tmp_path / whose / "items.parquet")
    (row,) = look_rows._items(tmp_path, "maps", "raw", look_rows._miou)
    assert row["base"] == pytest.approx((1 + 2 / 4) / 2)
    assert row["arm"] == pytest.approx((1 + 3 / 4) / 2)
    assert row["difference"] == pytest.approx(0.125) and row["n"] == 2
    assert row["low"] == pytest.approx(0) and row["high"] == pytest.approx(0.25)


def test_the_page_escapes_what_models_and_paths_say():
    models = {k: {"path": "/<script>", "sha256": "0"} for k in ("base", "arm")}
    told = {"models": models, "rows": [], "notes": ["<script>"], "config": [["<script>", "", ""]]}
    html = look_page.render(told, {})
    assert "<script>" not in html and html.count("&lt;script&gt;") >= 4
