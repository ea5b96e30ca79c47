"""What a study found in one file, and two of them side by side."""

import json
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from steps import manifest
from steps.stage import StageError
from steps.study import beside, share


def result(root, place, stage, base=None, arm=None, seed=None, code="code", **files):
    folder = root / place
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    facts = {"study": "s", "stage": stage, "base": base, "arm": arm, "seed": seed}
    manifest.write(folder, facts | {"params": {}, "inputs": {}, "code": code, "versions": {}})


def study(root, shift=0.0, questions="a", weights="w", code="code"):
    """Results of two arms on two seeds."""
    result(root, "base/b", "hub", base="b", model__safetensors=weights)
    for seed in (0, 1):
        own = {"items__parquet": questions}
        result(root, f"items/seed{seed}", "items", seed=seed, metrics__json="{}", **own)
        for arm, right in (("none", 0.5), ("dpo", 0.5 + shift)):
            told = json.dumps({"vqa/lenient": right + 0.01 * seed})
            place = f"vqa/b/{arm}/seed{seed}"
            own = {"metrics__json": told, "items__parquet": "x", "large__bin": "no"}
            result(root, place, "vqa", "b", arm, seed, code, **own)
    (root / "report").mkdir()
    (root / "report" / "summary.json").write_text("{}")
    return root


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "params.yaml").write_text("study: {}\n")
    root = study(tmp_path / "results" / "s")
    return SimpleNamespace(path=tmp_path / "params.yaml", results=str(root))


def test_an_export_has_answers_and_no_weights_and_never_changes(plan, tmp_path):
    one = share.export(plan, tmp_path / "one.tar.gz")
    two = share.export(plan, tmp_path / "two.tar.gz")
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as bundle:
        names = set(bundle.getnames())
    assert {"s/params.yaml", "s/report/summary.json", "s/vqa/b/dpo/seed1/items.parquet"} <= names
    assert not any(name.endswith((".safetensors", ".bin")) for name in names)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_without_its_page_an_export_has_all_answers(plan, tmp_path):
    (Path(plan.results) / "report/index.html").write_text("<p>")
    whole, bare = (share.export(plan, tmp_path / f"{page}.tar.gz", page) for page in (True, False))
    named = [set(tarfile.open(one).getnames()) for one in (whole, bare)]
    left = {name.partition("/")[2] for name in named[0] - named[1]}
    assert named[1] < named[0] and {name.partition("/")[0] for name in left} == {"report"}
    assert "report/index.html" in left and "report/summary.json" not in left
    assert share.opened(whole) == share.opened(bare)


def test_without_a_report_or_too_large_there_is_none(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(share, "MOST", 10)
    with pytest.raises(StageError, match="lower items.vqa"):
        share.export(plan, tmp_path / "one.tar.gz")
    (Path(plan.results) / "report/summary.json").unlink()
    with pytest.raises(StageError, match="make study"):
        share.export(plan, tmp_path / "one.tar.gz")
    assert not list(tmp_path.glob("*.tar.gz"))


def test_a_folder_and_an_export_are_compared_on_equal_items_and_weights(plan, tmp_path):
    packed = share.export(plan, tmp_path / "a.tar.gz")
    said = beside.compare(packed, study(tmp_path / "b", shift=0.02))
    assert "bases with the same weights: b" in said and "questions: 0, 1" in said
    rows = [line.split(" | ") for line in said.splitlines() if "vqa/lenient" in line]
    told = {row[0].split(", ")[1]: row[1:] for row in rows}
    assert told["dpo"][:3] == ["50.50", "52.50", "+2.00"] and told["none"][2] == "+0.00"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"questions": "b"}, "same questions: none; with others: 0, 1"),
        ({"weights": "v"}, "same weights: none; with others: b"),
        ({"code": "new"}, "vqa: not compared, other code judged"),
    ],
)
def test_what_is_not_equal_is_said_and_not_compared(plan, tmp_path, other, said):
    told = beside.compare(Path(plan.results), study(tmp_path / "b", **other))
    assert said in told and "Nothing is comparable." in told


def test_what_is_no_study_is_said(tmp_path):
    with pytest.raises(StageError, match="there is no"):
        share.opened(tmp_path / "nowhere")
    with pytest.raises(StageError, match="holds no results"):
        share.opened(tmp_path)
    (tmp_path / "bad.tar.gz").write_text("no archive")
    with pytest.raises(StageError, match="no export of a study"):
        share.opened(tmp_path / "bad.tar.gz")
    result(tmp_path / "s", "items/seed0", "items", seed=0)
    (tmp_path / "s/items/seed0/manifest.json").write_text("[]")
    with pytest.raises(StageError, match="no manifest of ours"):
        beside.compare(tmp_path / "s", tmp_path / "s")
