"""The mirror that stages start: it ends, it waits for nobody, it misses nothing."""

import shutil
import socket
import time
from contextlib import contextmanager

import pytest

from steps.mirror import __main__ as command
from steps.mirror import notes
from steps.mirror.sync import sync
from tests.mirror.study import PATIENCE, curve, loss, runs, table, until, whole_stage, writer


def test_a_server_that_is_away_costs_seconds_and_no_event(root, monkeypatch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"  # nobody listens there
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        whole_stage(root)
        began = time.monotonic()
        with pytest.raises(ConnectionError, match=f"MLFLOW_TRACKING_URI {uri}.*make sync"):
            sync(root)
        assert command.main(["--all", "--results", str(root.parent)]) == 1
        assert time.monotonic() - began < 10
    assert notes.stale(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(root) == 5


def test_the_background_mirror_ends_and_leaves_nothing(root, monkeypatch):
    monkeypatch.setattr(command, "POLL", 0.05)
    monkeypatch.setattr(command, "LINGER", 0.3)
    whole_stage(root)
    said = time.monotonic()
    command.background(root)
    assert time.monotonic() - said < 60
    assert [run.info.status for run in runs(root)] == ["FINISHED"]
    with notes.locked(root / ".events" / "background.lock", wait=False) as mine:
        assert mine
        whole_stage(root, "vqa")
        command.background(root)  # another holds the lock: nothing to do here
    assert len(runs(root)) == 1 and notes.stale(root)
    command.background(root)
    assert len(runs(root)) == 2


def test_the_holder_of_the_lock_brings_what_came_while_it_let_go(root, monkeypatch):
    """The last event's own mirror may be turned away just before the holder ends."""
    monkeypatch.setattr(command, "POLL", 0.05)
    monkeypatch.setattr(command, "LINGER", 0.2)
    whole_stage(root)
    hold = command.notes.locked

    @contextmanager
    def late(path, wait=True):
        with hold(path, wait) as mine:
            yield mine
            if path.name == "background.lock" and len(list((root / ".events").glob("*l"))) == 1:
                whole_stage(root, "vqa")

    monkeypatch.setattr(command.notes, "locked", late)
    command.background(root)
    assert {run.info.run_name for run in runs(root)} == {"sft", "vqa"}


@pytest.mark.slow
def test_four_stages_at_once_on_a_fresh_store(tmp_path, monkeypatch):
    monkeypatch.delenv("SIGHTLINE_MIRROR", raising=False)
    root = tmp_path / "results" / "study"
    root.mkdir(parents=True)
    stages = [writer(root, name) for name in ("sft", "vqa", "segment", "classify")]
    took = [float(stage.communicate(timeout=PATIENCE)[0]) for stage in stages]
    assert max(took) < 3
    database = tmp_path / "mlflow.db"
    query = "SELECT name, status FROM runs WHERE lifecycle_stage = 'active'"
    names = ["classify", "segment", "sft", "sft · seed 0 · bundled", "vqa"]
    expected = [(name, "FINISHED") for name in names]
    until(lambda: sorted(table(database, query)) == expected, "four stages in MLflow")
    for run in runs(root):
        assert curve(root, run) == loss(3)
    assert "rror" not in (root / ".events" / "mirror.log").read_text()
    shutil.rmtree(root)  # the mirror ends
