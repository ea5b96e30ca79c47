"""The report's verdicts, figures and pages on the study's own run, and never an older report's."""

import json
import shutil
from pathlib import Path

import pytest

from steps import track
from steps.mirror import about, ui
from steps.mirror.sync import sync
from tests.mirror.serving import serving
from tests.mirror.study import begin, client, runs

ROW = {"paper": "credit", "says": "More.", "primary": True, "why": "one unit", "unit": "points"}
ONE = {"mean": 1.5, "low": None, "high": None, "error": None, "freedom": 0, "n": 1}
CLAIMS = {
    "scope": "drawn scenes",
    "caution": "A small world.",
    "papers": {"credit": {"name": "Credit of the anchors", "source": "arXiv"}},
    "rows": [
        {**ROW, "id": "A1", "verdict": "inconclusive", "estimate": ONE, "controls": {}},
        {**ROW, "id": "A2", "verdict": "not testable", "primary": False},
    ],
}


def report(root, claims=CLAIMS, pictures=("differences-bundled", "gallery-bundled-sft")):
    """A whole report stage, of a folder as the stage leaves it."""
    final, out = root / "report", root / ".report.tmp"
    files = [f"figures/{name}.png" for name in pictures]
    for name in [*files, "tables/claims.md", "index.html", "manifest.json"]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(name)
    summary = {"headline": {"sentence": "No difference was found."}, "claims": claims}
    (out / "summary.json").write_text(json.dumps(summary))
    begin(root, "report", base=None, arm=None, seed=None, out=out, final=final)
    shutil.rmtree(final, ignore_errors=True)
    out.rename(final)
    track.finish("finished", {"claims/inconclusive": 1}, {})


def files(run):
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*.*")}, folder


def test_the_report_stands_on_the_studys_run(root, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")  # load_table's
    report(root)
    sync(root)
    [study] = runs(root, parents=True)
    found, folder = files(study)
    pictures = {"figures/differences-bundled.png", "figures/gallery-bundled-sft.png"}
    assert found == {"claims.json", "index.html", "tables/claims.md", *pictures}
    assert study.data.metrics == {"claims/inconclusive": 1}
    told = study.data.tags[about.NOTE]
    assert told.startswith("**2 claims: 1 inconclusive, 1 not testable.** No difference was found.")
    place = f"#/experiments/{study.info.experiment_id}/runs/{study.info.run_id}/artifacts"
    assert f"[index.html]({place}/index.html?workflowType=machine_learning)" in told
    table = client(root).load_table(study.info.experiment_id, "claims.json", [study.info.run_id])
    assert list(table["verdict"]) == ["inconclusive", "not testable"]
    assert list(table["id"]) == ["A1", "A2"] and list(table["kind"]) == ["primary", "described"]
    assert list(table["effect [interval]"]) == ["+1.5", "–"] and list(table["units"]) == [1, 0]
    experiment = client(root).get_experiment_by_name("study").tags[about.NOTE]
    assert "A small world. Scope: drawn scenes." in experiment


@pytest.mark.parametrize("forgotten", [False, True], ids=["new report", "notes lost as well"])
def test_a_new_report_takes_the_old_ones_place(root, forgotten):
    report(root)
    sync(root)
    [study] = runs(root, parents=True)
    found, folder = files(study)
    for name in ("figures/mine.svg", "mine.txt"):  # a reader's own
        client(root).log_text(study.info.run_id, "mine", name)
    if forgotten:
        for path in (root / ".events").glob("mirrored-*.json"):
            path.unlink()
    report(root, CLAIMS | {"rows": []}, pictures=["differences-bundled"])
    sync(root)
    [study] = runs(root, parents=True)
    found, _ = files(study)
    mine = {"figures/mine.svg", "mine.txt"}
    assert found == {"index.html", "tables/claims.md", "figures/differences-bundled.png", *mine}
    assert study.data.tags["mlflow.loggedArtifacts"] == "[]"
    assert study.data.tags[about.NOTE].startswith("No difference was found.")


def test_a_report_that_is_gone_or_failed_changes_nothing(root):
    report(root)
    shutil.rmtree(root / "report")
    sync(root)
    begin(root, "report", base=None, arm=None, seed=None, final=root / "report")
    track.finish("failed", {}, {})
    sync(root)
    [study] = runs(root, parents=True)
    assert files(study)[0] == set() and study.info.status == "FAILED"


@pytest.mark.slow
def test_the_same_on_a_server(root, tmp_path, monkeypatch):
    port = ui.free(15200)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with serving(tmp_path, port, f"sqlite:///{tmp_path}/mlflow.db"):
        report(root)
        sync(root)
        report(root, CLAIMS | {"rows": []}, pictures=["differences-bundled"])
        sync(root)
        [study] = runs(root, parents=True)
        number, mlflow = study.info.run_id, client(root)
        found = {f.path for where in ("", "figures") for f in mlflow.list_artifacts(number, where)}
    assert found == {"index.html", "tables", "figures", "figures/differences-bundled.png"}
    assert study.data.tags[about.NOTE].startswith("No difference was found.")
