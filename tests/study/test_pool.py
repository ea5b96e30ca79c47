"""Several studies judged as one."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from steps.__main__ import main
from steps.params import ROOT, read_yaml
from steps.stage import StageError
from steps.study import pool, share
from steps.study.overlay import merge
from tests.study.test_share import result

HOUSE = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.chdir(HOUSE)


def study(folder, name, base, seeds, lead=0.03, **changed):
    """A study of four seeds in which dpo leads sft; its folder and its params."""
    root = folder / name
    for i, seed in enumerate(seeds):
        for arm, right in (("none", 0.5), ("sft", 0.52), ("dpo", 0.52 + lead)):
            told = {
                "vqa/lenient": right + 0.001 * i,
                "vqa/strict": right - 0.001 * i * (arm == "dpo"),
            }
            result(
                root,
                f"vqa/{base}/{arm}/seed{seed}",
                "vqa",
                base,
                arm,
                seed,
                metrics__json=json.dumps(told),
            )
    own = {"study": {"name": name}, "seeds": seeds, "bases": {base: {"source": "bundled"}}}
    own |= {"gaze": {"seeds": seeds[:1]}, "diff": {"seeds": seeds[:1]}}
    values = merge(read_yaml(HOUSE / ROOT), merge({"bases": {"bundled": None}}, {}))
    return root, merge(merge(values, {"bases": {"bundled": None}}), merge(own, changed))


def row(told, number="E2"):
    return next(r for r in told["claims"]["rows"] if r["id"] == number and r["paper"] == "pivot")


def test_units_of_two_studies_decide_what_neither_can(tmp_path):
    one = study(tmp_path, "one", "bundled", [1, 2, 3, 4])
    two = study(tmp_path, "two", "other", [5, 6, 7, 8], items={"train": 3000, "stage1": 3000})
    told = pool.pool({"one": one, "two": two}, tmp_path / "out")
    found = row(told)
    assert found["estimate"]["n"] == 8 and set(found["units"]) == {"bundled", "other"}
    assert found["estimate"]["mean"] == pytest.approx(2.85)
    assert found["verdict"] == "replicated"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"index.html", "claims.md", "claims.tex", "summary.json", "figures"}
    assert "claims-pivot.png" in {path.name for path in (tmp_path / "out/figures").iterdir()}
    assert json.loads((tmp_path / "out/summary.json").read_text()) == json.loads(json.dumps(told))
    page = (tmp_path / "out/index.html").read_text()
    assert "<script" not in page and "one + two" in page
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_bases_on_the_same_seeds_are_one_unit_a_seed(tmp_path):
    one = study(tmp_path, "one", "bundled", [1, 2, 3, 4])
    two = study(tmp_path, "two", "other", [1, 2, 3, 4], lead=0.05)
    found = row(pool.pool({"one": one, "two": two}, tmp_path / "out"))
    assert found["estimate"]["n"] == 4 and found["verdict"] == "inconclusive"
    assert found["estimate"]["mean"] == pytest.approx(3.85)


def test_bases_that_differ_are_told_apart(tmp_path):
    one = study(tmp_path, "one", "bundled", [1, 2, 3, 4], lead=0.0816)
    two = study(tmp_path, "two", "other", [5, 6, 7, 8], lead=-0.0186)
    told = pool.pool({"one": one, "two": two}, tmp_path / "out")
    assert row(told)["apart"] < 0.001
    assert "bases differ: bundled +8.0, other −2.0" in (tmp_path / "out/claims.md").read_text()


def test_only_what_the_params_name_counts(tmp_path):
    one = study(tmp_path, "one", "bundled", [1, 2, 3, 4])
    two = study(tmp_path, "two", "other", [5, 6, 7, 8])
    left = one[0] / "vqa/bundled/dpo/seed4"
    left.rename(left.with_name("seed90"))
    facts = json.loads((left.with_name("seed90") / "manifest.json").read_text())
    (left.with_name("seed90") / "manifest.json").write_text(json.dumps(facts | {"seed": 90}))
    found = row(pool.pool({"one": one, "two": two}, tmp_path / "out"))
    assert [seed for seed, _ in found["units"]["bundled"]] == [1, 2, 3]


def test_one_name_of_a_base_is_one_base(tmp_path):
    one = study(tmp_path, "one", "bundled", [1, 2, 3])
    two = study(tmp_path, "two", "bundled", [4, 5, 6])
    for (root, _), weights in ((one, "a"), (two, "b")):
        result(root, "base/bundled", "base", "bundled", metrics__json="{}", w__safetensors=weights)
    with pytest.raises(StageError, match="base bundled of one and of two are not the same files"):
        pool.pool({"one": one, "two": two}, tmp_path / "out")


def test_every_two_studies_are_held_against_each_other(tmp_path):
    one = study(tmp_path, "one", "bundled", [1, 2])
    two = study(tmp_path, "two", "other", [3, 4], items={"vqa": 4000})
    three = study(tmp_path, "three", "other", [5, 6], items={"vqa": 1000})
    with pytest.raises(StageError, match=r"items\.vqa = 1000 in three, 4000 in two"):
        pool.pool({"one": one, "two": two, "three": three}, tmp_path / "out")


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    one = study(tmp_path, "one", "bundled", [1, 2, 3])
    two = study(tmp_path, "two", "bundled", [4, 5, 6])
    with pytest.raises(StageError, match="holds more than studies that were pooled"):
        pool.pool({"one": one, "two": two}, tmp_path / "one")
    assert (one[0] / "vqa").is_dir()
    for _ in range(2):
        pool.pool({"one": one, "two": two}, tmp_path / "out")


def test_a_unit_counts_once(tmp_path):
    one = study(tmp_path, "one", "bundled", [1, 2, 3])
    two = study(tmp_path, "two", "bundled", [3, 4, 5])
    with pytest.raises(StageError, match="one and two both have seed 3 of base bundled"):
        pool.pool({"one": one, "two": two}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("base", "changed", "said"),
    [
        ("other", {"sft": {"epochs": 3.0}}, r"sft\.epochs = 3\.0 in two, .* in one"),
        ("bundled", {"items": {"vqa": 7}}, r"items\.vqa = 7 in two, 1500 in one"),
    ],
)
def test_studies_that_did_something_else_are_not_pooled(base, changed, said, tmp_path):
    one = study(tmp_path, "one", "bundled", [1, 2, 3])
    two = study(tmp_path, "two", base, [4, 5, 6], **changed)
    with pytest.raises(StageError, match=said):
        pool.pool({"one": one, "two": two}, tmp_path / "out")


def test_the_command_line_takes_exports(tmp_path, capsys):
    packed = []
    for name, base, seeds in (("one", "bundled", [1, 2, 3, 4]), ("two", "other", [5, 6, 7, 8])):
        root, params = study(tmp_path, name, base, seeds)
        (root / "report").mkdir()
        (root / "report/summary.json").write_text("{}")
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(params))
        of = SimpleNamespace(path=tmp_path / f"{name}.yaml", results=str(root))
        packed.append(str(share.export(of, tmp_path / f"{name}.tar.gz")))
    out = tmp_path / "out"
    assert main(["pool", *packed, "--to", str(out)]) == 0
    told = json.loads((out / "summary.json").read_text())
    assert row(told)["verdict"] == "replicated" and list(told["studies"]) == ["one", "two"]
    assert f"{out}/index.html: " in capsys.readouterr().out
    assert main(["noise", *packed, "--units", "12", "--bases", "2"]) == 0
    assert "| claim | metric | units | SD |" in capsys.readouterr().out
    assert main(["beside", *packed]) == 0
    assert "Nothing is comparable." in capsys.readouterr().out
    assert main(["pool", packed[0], "--to", str(out)]) == 1
    assert "give two studies or more to pool" in capsys.readouterr().err


def test_one_alone_is_no_pool_and_a_folder_needs_params(tmp_path):
    one = study(tmp_path, "one", "bundled", [1, 2, 3])
    with pytest.raises(StageError, match="give two studies or more"):
        pool.pool({"one": one}, tmp_path / "out")
    with pytest.raises(StageError, match=f"is no export: it has no {share.PARAMS}"):
        pool.pool({"one": (one[0], None), "two": one}, tmp_path / "out")
