"""Every event arrives, once, whatever dies on the way."""

import json
from pathlib import Path

import pytest

from steps import spool, track
from steps.mirror import notes
from steps.mirror.sync import sync
from steps.track import log
from tests.mirror.study import (
    begin,
    curve,
    loss,
    runs,
    whole_stage,
)


def test_a_stage_arrives_whole(root, tmp_path):
    out, final = tmp_path / "out.tmp", root / "sft"
    (out / "maps").mkdir(parents=True)
    params = {"train": {"lr": 1e-3, "parts": ["tower", "text"]}, "arm": None}
    begin(root, params=params, out=out, final=final)
    log.metrics({"train/loss": 0.5, "a//odd (name)/../x": 1.0}, 1)
    log.dataset("train", "0" * 64, "train")
    log.model(out)
    for name in ("a.png", "maps/a.png"):
        (out / name).write_text(name)
        log.figure(out / name)
    log.figure(out / "never-drawn.png")
    log.text("first")
    log.text("second")
    out.rename(final)
    track.finish("finished", {"vqa": 0.5, "train/loss": 0.4}, {"wall_s": 1.5, "host": "here"})
    assert sync(root) == 11
    [run], [parent] = runs(root), runs(root, parents=True)
    assert run.info.run_name == "sft" and run.info.status == "FINISHED"
    tags = run.data.tags
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    assert tags["sightline.key"] == spool.key("study", "sft", "bundled", "sft", 0)
    assert tags["model/sft"] == str(final) and tags["record/host"] == "here"
    assert len(tags["mlflow.source.git.commit"].removesuffix("-dirty")) in (40, 7)
    expected = {"train.lr": "0.001", "train.parts": '["tower", "text"]', "arm": "None"}
    assert run.data.params == expected
    metrics = run.data.metrics
    assert metrics.pop("train/loss") == 0.4  # the final figure is the curve's last point
    assert metrics == {"a/odd _name_/_/x": 1.0, "vqa": 0.5, "record/wall_s": 1.5}
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("train", "0" * 36)
    assert [(tag.key, tag.value) for tag in data.tags] == [("mlflow.data.context", "train")]
    files = Path(run.info.artifact_uri.removeprefix("file://"))
    assert files.is_relative_to(tmp_path / "mlruns" / "study")
    found = {p.relative_to(files).as_posix(): p.read_text() for p in files.rglob("*.*")}
    drawn = {"figures/a.png": "a.png", "figures/maps/a.png": "maps/a.png"}
    assert found == drawn | {"notes.txt": "first\nsecond\n"}
    assert parent.info.run_name == "sft · seed 0 · bundled" and parent.info.status == "FINISHED"
    assert parent.data.metrics == {"vqa": 0.5, "train/loss": 0.4}
    assert parent.data.tags["arm"] == "sft" and parent.data.tags["seed"] == "0"
    began = json.loads(next((root / ".events").glob("*.jsonl")).read_text().splitlines()[0])["time"]
    assert run.info.start_time == int(began * 1000)


def test_stages_hang_below_one_run_for_each_base_arm_and_seed(root):
    for stage, base, arm, seed in [
        ("sft", "bundled", "sft", 0),
        ("vqa", "bundled", "sft", 0),
        ("sft", "bundled", "sft", 1),
        ("pairs", "bundled", None, 0),
        ("items", None, None, 0),
        ("base", "bundled", None, None),
        ("report", None, None, None),
    ]:
        whole_stage(root, stage, base=base, arm=arm, seed=seed)
        sync(root)
    parents = {run.info.run_id: run.info.run_name for run in runs(root, parents=True)}
    below = [(parents[r.data.tags["mlflow.parentRunId"]], r.info.run_name) for r in runs(root)]
    assert sorted(below) == [
        ("all arms · seed 0 · bundled", "pairs"),
        ("base · bundled", "base"),
        ("data · seed 0", "items"),
        ("sft · seed 0 · bundled", "sft"),
        ("sft · seed 0 · bundled", "vqa"),
        ("sft · seed 1 · bundled", "sft"),
        ("study", "report"),
    ]
    assert len(parents) == 6


def test_what_is_mirrored_is_not_mirrored_again(root):
    whole_stage(root)
    assert sync(root) == 5
    assert not notes.stale(root)
    assert sync(root) == sync(root, check=True) == 0
    for path in (root / ".events").glob("mirrored-*.json"):
        path.unlink()  # the notes are lost: MLflow knows how far it got
    assert sync(root) == 0
    [run] = runs(root)
    assert curve(root, run) == loss(3) and run.info.status == "FINISHED"
    assert len(runs(root, view=3, parents=True)) == 1


def test_a_live_stage_is_followed(root):
    begin(root)
    log.metric("train/loss", 1.0, 0)
    assert sync(root) == 2
    [run], [parent] = runs(root), runs(root, parents=True)
    assert run.info.status == parent.info.status == "RUNNING"
    log.metric("train/loss", 0.5, 1)
    assert notes.stale(root) and sync(root) == 1
    track.finish("failed", {}, {})
    assert sync(root) == 1
    [run], [parent] = runs(root), runs(root, parents=True)
    assert run.info.status == parent.info.status == "FAILED"
    assert curve(root, run) == loss(2)


def test_more_than_a_batch_holds(root):
    begin(root, params={"many": {f"p{i}": i for i in range(250)}})
    for step in range(2500):
        log.metric("train/loss", 1 / (step + 1), step)
    track.finish("finished", {f"m{i}": float(i) for i in range(1100)}, {})
    assert sync(root) == 2502
    [run] = runs(root)
    assert curve(root, run) == loss(2500)
    assert len(run.data.params) == 250 and len(run.data.metrics) == 1101


@pytest.mark.parametrize("after", [False, True], ids=["before it arrives", "after it arrived"])
def test_a_mirror_that_dies_in_a_batch_neither_loses_nor_doubles(root, monkeypatch, after):
    from mlflow import MlflowClient

    whole_stage(root, steps=2500)
    send, calls = MlflowClient.log_batch, []

    def die(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            if after:
                send(self, *args, **kwargs)
            raise SystemExit  # as a kill would, it passes by every `except Exception`
        send(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", die)
    with pytest.raises(SystemExit):
        sync(root)
    monkeypatch.setattr(MlflowClient, "log_batch", send)
    sync(root)
    [run], [_] = runs(root, view=3), runs(root, view=3, parents=True)
    assert curve(root, run) == loss(2500) and run.info.status == "FINISHED"


def test_one_log_that_cannot_be_sent_does_not_stop_the_others(root, monkeypatch):
    from steps.mirror import runs as sending

    whole_stage(root, "sft")
    whole_stage(root, "vqa")
    send = sending.send

    def refuse(client, run, events, offset):
        if events[0].get("stage") == "sft":
            raise RuntimeError("refused")
        send(client, run, events, offset)

    monkeypatch.setattr(sending, "send", refuse)
    with pytest.raises(RuntimeError, match="refused"):
        sync(root)
    state = {run.info.run_name: run.info.status for run in runs(root)}
    assert state == {"sft": "RUNNING", "vqa": "FINISHED"}
    monkeypatch.setattr(sending, "send", send)
    assert notes.stale(root)
    sync(root)
    assert {run.info.status for run in runs(root)} == {"FINISHED"}
    assert {run.info.status for run in runs(root, parents=True)} == {"FINISHED"}


def test_a_torn_line_is_mirrored_once_it_is_whole(root):
    begin(root)
    log.metric("train/loss", 1.0, 0)
    log.metric("train/loss", 0.5, 1)
    [path] = (root / ".events").glob("*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    sync(root)
    assert curve(root, runs(root)[0]) == loss(1)
    assert not notes.stale(root)  # a torn line is no reason to look again and again
    path.write_bytes(whole)
    sync(root)
    assert curve(root, runs(root)[0]) == loss(2)
