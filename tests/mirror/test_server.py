"""MLflow's own server: away, killed, restarted, looked at."""

import shutil
import signal
import socket
import subprocess
import sys

import pytest

from steps.mirror import __main__ as command
from steps.mirror import ui
from tests.mirror.serving import healthy, serving
from tests.mirror.study import PATIENCE, REPOSITORY, runs, table, until, whole_stage, writer


def test_the_first_free_port_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < ui.free(port) < port + 100


@pytest.mark.slow
def test_a_server_killed_and_restarted_mid_study_loses_nothing(tmp_path, monkeypatch, tables):
    monkeypatch.delenv("SIGHTLINE_MIRROR", raising=False)
    shutil.copy(tables, tmp_path / "server.db")
    root, database, port = tmp_path / "results" / "study", tmp_path / "server.db", ui.free(15000)
    root.mkdir(parents=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    points = f"SELECT count(*) FROM metrics WHERE key = 'train/loss' AND step < {30_000}"
    with serving(tmp_path, port, f"sqlite:///{database}"):
        stage = writer(root, "sft", steps=30_000)  # many batches: the kill falls among them
        assert float(stage.communicate(timeout=PATIENCE)[0]) < 3
        until(lambda: (table(database, points) or [(0,)])[0][0] >= 1800, "the first batches")
    arrived = table(database, points)[0][0]
    assert arrived < 30_000, "the server was killed too late to test anything"
    stage = writer(root, "vqa", then="3")  # trains for 3 s while the server is away
    assert float(stage.communicate(timeout=PATIENCE)[0]) < 3
    with serving(tmp_path, port, f"sqlite:///{database}"):
        stage = writer(root, "segment")
        assert float(stage.communicate(timeout=PATIENCE)[0]) < 3
        query = "SELECT name, status FROM runs WHERE lifecycle_stage = 'active'"
        names = ["segment", "sft", "sft · seed 0 · bundled", "vqa"]
        expected = [(name, "FINISHED") for name in names]
        until(lambda: sorted(table(database, query)) == expected, "all stages on the server")
        assert command.main(["--all", "--results", str(root.parent)]) == 0
        found = {run.info.run_name: run for run in runs(root, view=3)}
        lengths = {"sft": 30_000, "vqa": 3, "segment": 3}
        assert set(found) == set(lengths)
        count = "SELECT count(*), count(DISTINCT step) FROM metrics WHERE key = 'train/loss'"
        for name, length in lengths.items():
            rows = table(database, f"{count} AND run_uuid = '{found[name].info.run_id}'")
            assert rows == [(length, length)]
    shutil.rmtree(root)


@pytest.mark.slow
def test_make_ui_prints_a_link_to_the_table_of_runs(root):
    whole_stage(root)
    port = ui.free(15500)
    arguments = [sys.executable, "-m", "steps.mirror", "--ui", "--port", str(port)]
    arguments += ["--results", str(root.parent)]
    page = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, start_new_session=True
    )
    try:
        until(lambda: healthy(port) or page.poll() is not None, "MLflow's pages")
        lines = []
        while not lines or "http" not in lines[-1]:
            lines.append(page.stdout.readline())
            assert lines[-1], f"it ended early: {lines}"
        assert "study: 5 new events" in lines[0]
        run = runs(root)[0]
        table_of_runs = f"#/experiments/{run.info.experiment_id}/runs?workflowType=machine_learning"
        assert lines[-1] == f"study: http://127.0.0.1:{port}/{table_of_runs}\n"
        assert healthy(port)
        page.send_signal(signal.SIGTERM)  # as Ctrl-C, it ends the server too
        assert page.wait(timeout=60) == 0
        until(lambda: not healthy(port), "the server's end")
    finally:
        page.kill()
