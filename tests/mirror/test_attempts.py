"""Of several attempts at a stage the last one counts; dead ones are closed."""

import json
import shutil
import signal

from steps import spool
from steps.mirror import __main__ as command
from steps.mirror import notes
from steps.mirror.sync import sync
from steps.track import log
from tests.mirror.study import (
    begin,
    curve,
    loss,
    runs,
    whole_stage,
    writer,
)


def test_a_rerun_supersedes(root):
    whole_stage(root, score=0.25)
    whole_stage(root, "vqa", score=0.5)
    sync(root)
    before = {run.info.run_name: run.info.run_id for run in runs(root)}
    whole_stage(root, score=0.75)
    sync(root)
    after = {run.info.run_name: run for run in runs(root)}
    assert after["vqa"].info.run_id == before["vqa"]  # another stage stays
    assert after["sft"].info.run_id != before["sft"] and len(after) == 2
    assert after["sft"].data.metrics["sft/score"] == 0.75
    [old] = runs(root, view=2)
    new = after["sft"].data.tags["sightline.attempt"]
    assert old.info.run_id == before["sft"] and old.data.tags["sightline.superseded"] == new
    [parent] = runs(root, view=3, parents=True)
    assert parent.data.metrics["sft/score"] == 0.75 and parent.info.status == "FINISHED"


def test_of_attempts_never_mirrored_the_last_one_counts(root):
    for score in (0.1, 0.2, 0.3):
        whole_stage(root, score=score)
    sync(root)
    [run] = runs(root, view=3)
    assert run.data.metrics["sft/score"] == 0.3


def test_a_rerun_after_the_results_were_deleted_supersedes(root):
    whole_stage(root, score=0.25)
    sync(root)
    shutil.rmtree(root)
    whole_stage(root, score=0.75)
    sync(root)
    [run], [_] = runs(root), runs(root, parents=True)
    assert run.data.metrics["sft/score"] == 0.75


def test_clones_that_share_a_store_leave_each_other_alone(root, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    other = tmp_path / "clone" / "results" / "study"
    for each in (root, other):
        whole_stage(each)
        sync(each)
    assert {r.data.tags["sightline.project"] for r in runs(root)} == {
        str(tmp_path),
        str(tmp_path / "clone"),
    }


def test_another_store_gets_everything(root, tmp_path, monkeypatch, tables):
    whole_stage(root)
    sync(root)
    shutil.copy(tables, tmp_path / "second.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/second.db")
    assert sync(root) == 5 and len(runs(root)) == 1
    (tmp_path / "second.db").unlink()
    shutil.copy(tables, tmp_path / "second.db")  # the store was lost and begun anew
    assert command.main(["--all", "--results", str(root.parent)]) == 0


def test_a_killed_stage_is_closed_as_killed_and_superseded(root):
    stage = writer(root, then="sleep")
    assert stage.stdout.readline() == "ready\n"
    sync(root)
    [run] = runs(root)
    assert run.info.status == "RUNNING" and not notes.stale(root)
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    assert notes.stale(root)
    sync(root)
    [run], [parent] = runs(root), runs(root, parents=True)
    assert run.info.status == parent.info.status == "KILLED"
    assert curve(root, run) == loss(3)
    events, _ = spool.read(next((root / ".events").glob("*.jsonl")))
    assert run.info.end_time == int(events[-1]["time"] * 1000)  # when it was last heard of
    whole_stage(root, steps=5)
    sync(root)
    [run], [parent] = runs(root), runs(root, parents=True)
    assert run.info.status == parent.info.status == "FINISHED" and curve(root, run) == loss(5)


def test_a_recycled_pid_is_not_the_stage(root):
    begin(root)
    [path] = (root / ".events").glob("*.jsonl")
    start = json.loads(path.read_text())
    log._close()
    for process, status in [
        (start["process"], "RUNNING"),
        ({**start["process"], "host": "another", "began": 1}, "RUNNING"),  # out of sight
        ({**start["process"], "began": 1}, "KILLED"),
    ]:
        shutil.rmtree(root / ".events")
        path.parent.mkdir()
        path.write_text(json.dumps({**start, "process": process}) + "\n")
        sync(root)
        assert runs(root)[0].info.status == status
