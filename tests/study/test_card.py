"""The model card's gates are read off a study's results, and judged by their bounds."""

import json

import pandas as pd
import pytest

from steps.data.speech import DRAWN
from steps.stage import StageError
from steps.study import card

KINDS = DRAWN.kinds
VQA = {
    "vqa/lenient": 0.6,
    "vqa/ill_formed": 0.01,
    **{f"vqa/kind/{k}/lenient": 0.7 for k in KINDS},
}

PLATEAU = "plateau: change by going on with stage 1 (`continue`)"


@pytest.fixture
def results(tmp_path):
    """One seed's results of a base that passes every gate."""

    def put(where, numbers):
        folder = tmp_path / where
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(numbers))
        return folder

    rows = [
        {"kind": k, "value": v, "lenient": int(v == "x"), "novel": False}
        for k in KINDS
        for v in ("x", "y", "z")
    ]
    seen = [{**r, "instrument": "vqa", "lenient": int(i % 5 < 3)} for i, r in enumerate(rows[:20])]
    seen += [{**r, "instrument": "vqa", "lenient": 0, "novel": True} for r in rows]
    blind = [{**r, "instrument": f"vqa_{b}"} for r in rows for b in ("grey", "swapped")]
    folder = put("vqa/b/none/seed0", VQA)
    pd.DataFrame(seen + blind).to_parquet(folder / "items.parquet")
    put("vqa/b/continue/seed0", {**VQA, "vqa/lenient": 0.61})
    put("pairs/b/seed0", {"pairs/pass_at_1": 0.5, "pairs/pass_at_8": 0.9})
    put("segment/b/none/seed0", {"segment/shape/miou": 0.5})
    put("baselines/b/seed0", {"random/segment/shape/miou": 0.2})
    return tmp_path


def test_a_base_that_sees_meets_every_gate(results):
    found = card.gates(results, "b", [0])
    assert all(g["met"] for g in found)
    values = {g["gate"]: g["value"] for g in found}
    assert values["right in some draw minus greedy"] == pytest.approx(0.3)
    assert values[PLATEAU] == pytest.approx(0.01)
    assert values["image kinds with a grey image"] == pytest.approx(1 / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("where", "name", "value", "gate"),
    [
        ("vqa/b/none/seed0", "vqa/kind/shape/lenient", 0.2, "VQA, shape"),
        ("vqa/b/none/seed0", "vqa/kind/color/lenient", 0.9, "VQA, color"),
        ("vqa/b/none/seed0", "vqa/ill_formed", 0.1, "ill-formed answers"),
        (
            "vqa/b/continue/seed0",
            "vqa/lenient",
            0.7,
            PLATEAU,
        ),
        ("pairs/b/seed0", "pairs/pass_at_8", 0.65, "right in some draw minus greedy"),
    ],
)
def test_a_gate_that_is_not_met_says_so(results, where, name, value, gate):
    file = results / where / "metrics.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    failed = [g["gate"] for g in card.gates(results, "b", [0]) if not g["met"]]
    assert gate in failed


def test_a_missing_result_is_an_error_and_not_a_pass(results):
    (results / "pairs" / "b" / "seed0" / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match="pairs"):
        card.gates(results, "b", [0])


def test_a_base_that_is_not_bundled_yet_has_no_card(tmp_path):
    with pytest.raises(StageError, match="run python -m steps bundle first"):
        card.write(None, tmp_path, "b", tmp_path / "models" / "b")


def test_the_readmes_picture_and_table_are_the_reports(results):
    for name in ("figures/differences-b.png", "tables/results-b.md"):
        (results / "report" / name).parent.mkdir(parents=True)
        (results / "report" / name).write_text(name)
    card.show(results, "b", results / "docs", "differences", "results")
    assert (results / "docs" / "results-b.md").read_text() == "tables/results-b.md"
    assert (results / "docs" / "differences-b.png").read_text() == "figures/differences-b.png"
    with pytest.raises(FileNotFoundError, match="differences-other"):
        card.show(results, "other", results / "docs", "differences", "results")


def test_the_study_that_makes_a_base_is_named():
    assert [card._maker(base) for base in ("bundled", "larger", "narrow", "photos")] == [
        *("base", "larger", "narrow", "photos_base")
    ]
