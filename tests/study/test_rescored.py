"""A small finished study recomputed from its answers and features; no model is there to ask."""

import json
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from steps import manifest, params
from steps.behaviour import sharpen, vqa
from steps.schema import Params
from steps.stage import STAGES, StageError, execute
from steps.study import report, rescored
from steps.study.rules import Rule

ROOT = Path(__file__).parents[2]
COLOURS = ["red", "green", "blue"]
RIGHT = {"none": 5, "sft": 9}
"""How many of the twelve questions each arm answers."""
BOTH = {"base": ["bundled"], "arm": ["none", "sft"], "seed": ["0", "1"]}
READS = list(Params.model_fields)


def rules(root):
    """What the workflow would declare of these stages."""
    where = "{base}/{arm}/seed{seed}"
    asked = {"model": f"{root}/model/{where}", "items": f"{root}/items/seed{{seed}}"}
    probed = {"features": f"{root}/features/{where}", "probes": f"{root}/probes/seed{{seed}}"}
    found = [
        Rule(name, "", inputs, "", f"{root}/{name}/{where}", [name], BOTH, "seeds")
        for name, inputs in (
            ("vqa", asked),
            ("sharpen", asked),
            ("classify", probed),
            ("segment", probed),
        )  # fmt: skip
    ]
    found += [
        Rule("items", "", {}, "", f"{root}/items/seed{{seed}}", [], {"seed": ["0", "1"]}, "seeds"),
        Rule("sft", "", {}, "", f"{root}/model/{where}", [], BOTH, "seeds"),
    ]
    read = {name: f"{root}/{name}" for name in ("vqa", "sharpen", "classify", "segment", "items")}
    return [*found, Rule("report", "", read, "", f"{root}/report", READS, {}, "seeds")]


def finish(folder, stage, seed):
    (folder / "metrics.json").write_text("{}")
    facts = {"study": "small", "stage": stage, "base": None, "arm": None, "seed": seed}
    manifest.write(folder, facts | {"params": {}, "inputs": {}, "code": "", "versions": {}})


def items(folder, seed):
    """Twelve questions about a colour, each third one of a new combination."""
    folder.mkdir(parents=True)
    value = [COLOURS[(i + seed) % 3] for i in range(12)]
    table = pd.DataFrame({"item": [f"q{i}" for i in range(12)], "image": range(12)})
    table = table.assign(kind="color", form="word", style="a", prompt="what color ? one word .")
    table = table.assign(response=value, value=value, choices=[COLOURS] * 12)
    table["novel"] = [i % 3 == 0 for i in range(12)]
    table.to_parquet(folder / "vqa.parquet")
    np.save(folder / "vqa_images.npy", np.zeros((12, 8, 8, 3), np.uint8))
    finish(folder, "items", seed)


def probes(root, seed):
    """Forty images of two labels, the features that tell them, and maps of 4 x 4."""
    rng, split = np.random.default_rng(seed), ["train"] * 30 + ["test"] * 10
    codes = rng.integers(0, 2, 40)
    folder = root / "probes" / f"seed{seed}"
    folder.mkdir(parents=True)
    told = pd.DataFrame({"split": split, "side": np.array(["left", "right"])[codes]})
    told.to_parquet(folder / "mine.parquet")
    told.to_parquet(folder / "mine_segment.parquet")
    maps = np.repeat(codes[:, None, None], 16, 1).reshape(40, 4, 4).astype(np.uint8)
    maps[:, :2] = 0
    np.save(folder / "mine_segment_thing.npy", maps)
    sets = {"mine": {"classify": {"own": ["side"]}}}
    sets["mine_segment"] = {"segment": {"thing": ["thing"]}}
    (folder / "probes.json").write_text(json.dumps({"sets": sets}))
    finish(folder, "probes", seed)
    for arm in RIGHT:
        folder = root / "features" / "bundled" / arm / f"seed{seed}"
        folder.mkdir(parents=True)
        noise = rng.normal(size=(40, 6))
        noise[:, 0] += 2 * codes
        np.save(folder / "mine_vit.npy", noise.astype(np.float16))
        tokens = rng.normal(size=(40, 4, 6)) + maps[:, ::2, ::2].reshape(40, 4, 1)
        np.save(folder / "mine_segment_vit.npy", tokens.astype(np.float16))
        finish(folder, "features", seed)


def said(rows, count):
    """The true answer to the first `count` questions, another one to the others."""
    others = [COLOURS[(COLOURS.index(value) + 1) % 3] for value in rows["value"]]
    return [*rows["value"][:count], *others[count:]]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The study, as its stages leave it: they ran, with answers put in for the model's."""
    home = tmp_path_factory.mktemp("made")
    root = home / "results" / "small"
    values = params.read_yaml(ROOT / "params.yaml")
    values |= {"study": {"name": "small", "title": "Small"}, "seeds": [0, 1]}
    values |= {"arms": {"none": {"method": "none"}, "sft": {"method": "sft"}}}
    values["instruments"] = ["vqa", "sharpen", "classify", "segment"]
    values["vqa"] |= {"margin": False}
    values["sharpen"] |= {"draws": 2, "items": 6}
    values["classify"] |= {"kinds": ["ridge"], "pca": 0, "penalties": [0.1, 1.0]}
    values["segment"] |= {"epochs": 2, "batch": 8, "rates": [0.1], "patch_epochs": 0}
    values["gaze"]["seeds"] = values["diff"]["seeds"] = [0]
    path = home / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    patch = pytest.MonkeyPatch()
    patch.setattr(vqa.load, "vlm", lambda _: SimpleNamespace(to=lambda _: None))
    patch.setattr(vqa.load, "processor", lambda _: None)
    patch.setattr(vqa.load, "device", lambda: "cpu")
    found = [rule for rule in rules(root) if rule.name in params.load(path).instruments]
    for seed in (0, 1):
        items(root / "items" / f"seed{seed}", seed)
        probes(root, seed)
        for arm, right in RIGHT.items():
            model = root / "model" / "bundled" / arm / f"seed{seed}"
            model.mkdir(parents=True)
            finish(model, arm, seed)
            count = right + seed
            patch.setattr(
                vqa,
                "ask",
                lambda *asked, count=count: (said(asked[2], count), np.full(len(asked[2]), np.nan)),
            )
            drawer = SimpleNamespace(
                draw=lambda table, *_, count=count: [
                    list(pair)
                    for pair in zip(said(table, count), said(table, count // 2), strict=True)
                ]
            )
            patch.setattr(sharpen, "Drawer", lambda *_, drawer=drawer: drawer)
            for rule in found:
                where = {"base": "bundled", "arm": arm, "seed": seed}
                inputs = {n: Path(p.format(**where)) for n, p in rule.inputs.items()}
                out = Path(rule.out.format(**where))
                execute(rule.name, path, out, rule.reads, inputs, **where)
    patch.undo()
    study = params.load(path)
    [rule] = [rule for rule in rules(root) if rule.name == "report"]
    out = root / "report"
    out.mkdir()
    view = params.view(study, READS, params.Run("small", "report"))
    report.run(view, {name: Path(p) for name, p in rule.inputs.items()}, out)
    return home


@pytest.fixture
def plan(made, tmp_path):
    """A copy of the study, to be spoilt."""
    home = tmp_path / "home"
    shutil.copytree(made, home)
    path = home / "params.yaml"
    return SimpleNamespace(
        params=params.load(path), path=path, results=str(home / "results" / "small")
    )


def again(plan):
    """The printed text, and rescore.json."""
    text = rescored.rescore(plan, rules(plan.results))
    return text, json.loads((Path(plan.results) / "rescored/rescore.json").read_text())


def summary(plan, of):
    return json.loads((Path(plan.results) / of / "summary.json").read_text())


def test_what_was_kept_gives_the_same_metrics_and_page(plan, monkeypatch):
    monkeypatch.setattr(vqa.load, "vlm", lambda _: pytest.fail("a model was loaded"))
    text, told = again(plan)
    total = told["totals"]
    assert total["results"] == 16 and not told["left"] and not told["changed"]
    assert total["differ"] == total["new"] == total["gone"] == total["answers_other"] == 0
    recorded = Path(plan.results).rglob("metrics.json")
    assert total["equal"] == sum(len(json.loads(path.read_text())) for path in recorded)
    assert total["equal"] > 100 and total["answers"] > 100
    assert f"{total['equal']} metrics are equal, 0 differ" in text
    was, now = (summary(plan, name) for name in ("report", "rescored"))
    assert now["study"].pop("title") == was["study"].pop("title") + " (rescored)"
    assert now == was and was["results"]["bundled"], "the page shows the same figures"
    place = Path(plan.results) / "rescored"
    assert (place / "index.html").is_file() and (place / "tables").is_dir()
    assert not [path for path in Path(plan.results).rglob("*") if path.is_symlink()]


def test_an_edited_answer_changes_its_metrics_and_no_others(plan):
    path = Path(plan.results) / "vqa/bundled/sft/seed0/items.parquet"
    table = pd.read_parquet(path)
    row = (table["instrument"] == "vqa") & (table["item"] == "q11")
    assert table.loc[row, "lenient"].tolist() == [0]
    table.loc[row, "raw"] = "blue"  # right, where the record says 0
    table.to_parquet(path, index=False)
    for folder in (path.parent, Path(plan.results) / "report"):  # what others read stays
        shutil.copytree(folder, folder.with_name("before"))
    text, told = again(plan)
    own = told["results"].pop("vqa/bundled/sft/seed0")
    assert not any(one["differ"] for one in told["results"].values())
    heads = ("vqa", "vqa/kind/color", "vqa/form/word", "vqa/style/a")
    known = {f"{head}/{name}" for head in heads for name in ("lenient", "strict")}
    assert set(own["differ"]) == known | {"vqa/ladder/1/lenient"}
    one = own["differ"]["vqa/lenient"]
    assert one["recorded"] == 9 / 12 and one["recomputed"] == pytest.approx(10 / 12)
    assert one["difference"] == pytest.approx(1 / 12)
    assert own["answers"]["other"] == 1 and own["answers"]["first"][0]["item"] == "q11"
    assert "vqa/bundled/sft/seed0 vqa/lenient: 0.75 -> 0.833333" in text
    assert len(told["changed"]) == 1 and "items.parquet is not what its manifest says" in text
    cells = [summary(plan, of)["results"]["bundled"][0]["rows"] for of in ("report", "rescored")]
    shown = [
        next(row for row in rows if row["metric"] == "vqa/lenient")["arms"]["sft"]["seeds"]["0"]
        for rows in cells
    ]
    assert shown == pytest.approx([75, 100 * 10 / 12])
    for folder in (path.parent, Path(plan.results) / "report"):  # nothing recorded was touched
        for kept in folder.with_name("before").rglob("*.*"):
            file = folder / kept.relative_to(folder.with_name("before"))
            assert file.read_bytes() == kept.read_bytes()


def test_a_missing_or_torn_table_is_named_and_the_rest_stands(plan):
    root = Path(plan.results)
    (root / "vqa/bundled/none/seed1/items.parquet").unlink()
    (root / "sharpen/bundled/sft/seed0/items.parquet").write_bytes(b"torn")
    (root / "features/bundled/sft/seed1/mine_vit.npy").unlink()
    shutil.rmtree(root / "segment/bundled/none/seed0")
    text, told = again(plan)
    assert told["totals"]["differ"] == 0 and told["totals"]["results"] == 11
    names = ["vqa/bundled/none/seed1", "sharpen/bundled/sft/seed0", "classify/bundled/sft/seed1"]
    names += ["segment/bundled/sft/seed1", "segment/bundled/none/seed0"]
    assert set(told["left"]) == set(names)
    assert all(f"{name}: left as recorded: " in text for name in names)
    assert "items.parquet" in told["left"]["vqa/bundled/none/seed1"]
    assert "mine_vit.npy is missing" in told["left"]["classify/bundled/sft/seed1"]
    now = summary(plan, "rescored")
    row = next(r for r in now["results"]["bundled"][0]["rows"] if r["metric"] == "vqa/lenient")
    assert row["arms"]["none"]["seeds"]["1"] == 50, "as recorded"
    assert "segment/bundled/none/seed0" in now["missing"]


def test_answers_to_other_questions_are_not_judged(plan):
    folder = Path(plan.results) / "items/seed0"
    table = pd.read_parquet(folder / "vqa.parquet")
    table.assign(value="red").to_parquet(folder / "vqa.parquet")
    finish(folder, "items", 0)
    _, told = again(plan)
    assert len(told["left"]) == 4 and all("seed0" in name for name in told["left"])
    assert all("not the one that it was made from" in why for why in told["left"].values())


def test_a_result_is_recomputed_with_the_params_that_it_was_made_with(plan):
    values = params.read_yaml(plan.path)
    values["sharpen"]["draws"], values["classify"]["penalties"] = 7, [1e6]
    plan.path.write_text(yaml.safe_dump(values))
    plan.params = params.load(plan.path)
    _, told = again(plan)
    assert told["totals"]["differ"] == 0 and not told["left"]


def test_changed_verdicts_are_listed(plan):
    path = Path(plan.results) / "report/summary.json"
    told = json.loads(path.read_text())
    told["claims"]["rows"] = [{"paper": "p", "id": "P1", "verdict": "supported"}]
    path.write_text(json.dumps(told))
    text, whole = again(plan)
    gone = {"paper": "p", "id": "P1", "recorded": "supported", "recomputed": None}
    assert whole["verdicts"]["changed"] == [gone] and "p P1: supported -> None" in text


def test_without_a_report_or_results_there_is_nothing_to_do(plan):
    root = Path(plan.results)
    for name in ("vqa", "sharpen", "classify", "segment"):
        shutil.rmtree(root / name)
    with pytest.raises(StageError, match=r"nothing to rescore: vqa/bundled/none/seed0: .*metrics"):
        again(plan)
    shutil.rmtree(root / "report")
    with pytest.raises(StageError, match="make study"):
        again(plan)
    assert not [path for path in root.iterdir() if "rescored" in path.name]


def test_a_run_that_is_killed_leaves_what_was_there(plan, monkeypatch):
    place = Path(plan.results) / "rescored"
    place.mkdir()
    (place / "index.html").write_text("old")

    def kill(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "run", kill)
    with pytest.raises(KeyboardInterrupt):
        again(plan)
    assert [path.name for path in place.iterdir()] == ["index.html"]
    assert not [path for path in place.parent.iterdir() if path.name.startswith(".rescored")]


def test_every_stage_is_in_one_table():
    tables = [set(rescored.ANSWERS), set(rescored.AGAIN), set(rescored.RECORDED), {"report"}]
    assert set.union(*tables) == set(STAGES) and sum(map(len, tables)) == len(STAGES)
    assert all(hasattr(import_module(STAGES[name]), "rescored") for name in rescored.ANSWERS)
    assert all(re.compile(names) for names in rescored.MODEL.values())
    assert set(rescored.MODEL) <= set(rescored.ANSWERS)


def test_answers_are_judged_without_torch():
    names = ["steps.study.rescored", *(STAGES[n] for n in ("vqa", "sharpen", "forget", "reuse"))]
    code = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
