"""MLflow's server on PostgreSQL, both real: a group's runs, with the database away and back."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from steps import track
from steps.mirror import __main__ as command
from steps.mirror import notes, ui
from steps.mirror.sync import sync
from steps.track import log
from tests.mirror.serving import PASSWORD, QUOTED, Postgres, serving
from tests.mirror.study import begin, client, curve, loss, runs, whole_stage

pytestmark = pytest.mark.slow

POINTS = 10_000


@pytest.fixture(scope="module")
def postgres(need_debian):
    """PostgreSQL, as Debian packages it."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    programs = folders[-1] if folders else Path("/usr/lib/postgresql/bin")
    need_debian("postgresql", programs / "initdb")
    cluster = Postgres(programs)
    yield cluster
    cluster.remove()


@pytest.fixture(scope="module")
def address(postgres, tmp_path_factory):
    """The address of an MLflow server that keeps its runs there."""
    port = ui.free(15800)
    with serving(tmp_path_factory.mktemp("server"), port, postgres.uri()):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def root(tmp_path, monkeypatch, address):
    """A study's folder of a project of its own, mirrored to that server."""
    monkeypatch.setenv("SIGHTLINE_MIRROR", "off")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    yield tmp_path / "results" / "study"
    log._close()


def mine(root, view=1, parents=False):
    """The runs of this project alone: the tests share one server, as clones do."""
    project = str(notes.project(root))
    found = runs(root, view, parents)
    return [run for run in found if run.data.tags["sightline.project"] == project]


def test_a_study_arrives_with_its_files_and_is_superseded(root, tmp_path, monkeypatch):
    out = root / "vqa"
    out.mkdir(parents=True)
    monkeypatch.setattr("sys.argv", ["steps", "vqa", *(f"--input a{i}=b{i}" for i in range(99))])
    whole_stage(root, params={"train": {"parts": ["tower"] * 99, "about": "é" * 3000}})
    begin(root, "vqa", out=out, final=out)
    (out / "a.png").write_bytes(b"picture")
    log.figure(out / "a.png")
    log.dataset("train/" + "x" * 600, "0" * 64, "train")
    log.text("noted")
    track.finish("finished", {"vqa/score": 0.5, "vqa/nan": float("nan")}, {"host": "here"})
    assert sync(root) == 10 and not notes.stale(root)
    found = {run.info.run_name: run for run in mine(root)}
    [parent] = mine(root, parents=True)
    assert parent.info.run_name == "sft · seed 0 · bundled" and parent.info.status == "FINISHED"
    for run in found.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert curve(root, found["sft"]) == loss(3) and set(found) == {"sft", "vqa"}
    assert parent.data.metrics["vqa/score"] == 0.5 and parent.data.metrics["sft/score"] == 0.5
    for name, content in [("figures/a.png", b"picture"), ("notes.txt", b"noted\n")]:
        path = client(root).download_artifacts(found["vqa"].info.run_id, name, str(tmp_path))
        assert Path(path).read_bytes() == content
    whole_stage(root, score=0.75)
    sync(root)
    [old] = mine(root, view=2)
    [new] = [run for run in mine(root) if run.info.run_name == "sft"]
    assert old.info.run_id == found["sft"].info.run_id and new.data.metrics["sft/score"] == 0.75
    assert old.data.tags["sightline.superseded"] == new.data.tags["sightline.attempt"]


def test_several_clones_and_processes_at_once_double_nothing(root, tmp_path):
    """Their study is new to the server, so they also meet in making its experiment."""
    folders = [tmp_path / f"clone{i}" / "results" / "fresh" for i in range(3)]
    for folder in folders:
        for stage in ("sft", "vqa"):
            whole_stage(folder, stage)
    with ThreadPoolExecutor(6) as pool:
        sent = list(pool.map(sync, folders * 2))
    assert sum(sent) == 3 * 2 * 5
    mlflow = client(folders[0])
    experiment = mlflow.get_experiment_by_name("fresh")
    found = mlflow.search_runs([experiment.experiment_id], run_view_type=3)
    names = [(r.data.tags["sightline.project"], r.info.run_name) for r in found]
    wanted = ["sft · seed 0 · bundled", "sft", "vqa"]
    assert sorted(names) == sorted((str(f.parents[1]), name) for f in folders for name in wanted)
    assert {run.info.status for run in found} == {"FINISHED"}


def test_the_database_crashes_half_way_and_comes_back(root, postgres):
    whole_stage(root, steps=POINTS)
    whole_stage(root, "vqa")
    count = (
        "SELECT count(*), count(DISTINCT (step, timestamp)) FROM metrics JOIN tags USING (run_uuid)"
        " WHERE metrics.key = 'train/loss' AND tags.key = 'sightline.project'"
        f" AND tags.value = '{notes.project(root)}'"
    )
    with ThreadPoolExecutor(1) as pool:
        passing = pool.submit(sync, root)
        while postgres.rows(count)[0][0] < 1800:
            assert not passing.done(), passing.result()
            time.sleep(0.05)
        postgres.stop()
        stopped = time.monotonic()
        with pytest.raises(Exception, match="MLFLOW_TRACKING_URI|API request|error"):
            passing.result(timeout=120)
    assert time.monotonic() - stopped < 60
    with pytest.raises(Exception, match="MLFLOW_TRACKING_URI|API request|error"):
        sync(root)  # the server lives, its database does not
    assert time.monotonic() - stopped < 120 and notes.stale(root)
    postgres.start()
    arrived = postgres.rows(count)[0][0]
    assert 1800 <= arrived < POINTS
    assert sync(root) < POINTS  # it goes on from where it was
    assert postgres.rows(count) == [(POINTS + 3, POINTS + 3)]
    found = {run.info.run_name: run.info.status for run in mine(root, view=3)}
    assert found == {"sft": "FINISHED", "vqa": "FINISHED"} and not notes.stale(root)


def test_the_database_asked_directly(root, postgres, monkeypatch, capsys):
    everything = ["--all", "--results", str(root.parent)]
    whole_stage(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.uri(f"mlflow:wrong{QUOTED}@"))
    began = time.monotonic()
    assert command.main(everything) == 1
    assert time.monotonic() - began < 30  # MLflow itself would try for 100 s
    said = capsys.readouterr().err
    assert "postgresql://mlflow:***@127.0.0.1" in said and "password authentication failed" in said
    assert said.count("\n") == 1 and "wrong" not in said and notes.stale(root)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.uri())
    [(version,)] = postgres.rows("SELECT version_num FROM alembic_version")
    postgres.rows("UPDATE alembic_version SET version_num = 'cfd24bdc0731'")
    try:
        assert command.main(everything) == 1
    finally:
        postgres.rows(f"UPDATE alembic_version SET version_num = '{version}'")
    said = capsys.readouterr().err
    assert "its schema is cfd24bdc0731" in said and "mlflow db upgrade" in said

    assert command.main(everything) == 0
    said = "".join(capsys.readouterr())
    assert "study: 5 new events, mirrored to postgresql://mlflow:***@127.0.0.1" in said
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.uri("mlflow@"))
    monkeypatch.setenv("PGPASSWORD", PASSWORD)  # or in ~/.pgpass: the address then holds none
    whole_stage(root, "vqa")
    assert sync(root) == 5
    assert {run.info.run_name for run in mine(root)} == {"sft", "vqa"}
    written = b"".join(p.read_bytes() for p in (root / ".events").iterdir())
    assert PASSWORD.encode() not in written and QUOTED.encode() not in written

    postgres.stop(signal.SIGINT)
    try:
        whole_stage(root, "gaze")
        with pytest.raises(ConnectionError, match=r"does not open \(.*refused.*events are kept"):
            sync(root)
    finally:
        postgres.start()
    assert sync(root) == 5
