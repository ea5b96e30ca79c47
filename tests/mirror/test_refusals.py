"""What the mirror cannot work with is one sentence, without passwords, and costs no event."""

import errno
import fcntl
import os
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from steps.mirror import __main__ as command
from steps.mirror import notes, words
from steps.mirror.sync import sync
from tests.mirror.study import begin, runs, whole_stage
from tests.mounted import mount


@contextmanager
def answering(status):
    """A server of this machine that answers everything with one status; its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"not you")

        do_POST = do_GET

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://me:***@host/db"),
        ("to http://me:s3c@ret@host:1/x at", "to http://me:***@host:1/x at"),
        ("'https://s3cret@host/x'", "'https://***@host/x'"),
        ("postgresql://:s3/cret@host/db", "postgresql://:***@host/db"),
        ("mysql://host/db?password=s3cret&a=b", "mysql://host/db?password=***&a=b"),
        ("sqlite:///people/me@site/mlflow.db", "sqlite:///people/me@site/mlflow.db"),
        ("http://127.0.0.1:5000 and me@host", "http://127.0.0.1:5000 and me@host"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
    ],
)
def test_passwords_are_masked(text, shown):
    assert words.masked(text) == shown


def test_sqlite_is_refused_on_a_network(root, tmp_path, monkeypatch, capsys):
    whole_stage(root)
    disk = tmp_path.parent / f"{tmp_path.name}-disk"
    disk.mkdir()
    (tmp_path / "mlflow.db").rename(disk / "mlflow.db")  # the tables, for later
    mount(monkeypatch, tmp_path, "nfs4")
    began = time.monotonic()
    with pytest.raises(notes.Refused, match=f"mlflow.db.*nfs4 at {tmp_path}.*MLFLOW_TRACKING_URI"):
        sync(root)
    for arguments in (["--root", str(root)], ["--all", "--results", str(root.parent)]):
        status = command.main(arguments)
        said = capsys.readouterr().err
        assert status == (arguments[0] == "--all") and said.count("\n") == 1
        assert "MLFLOW_TRACKING_URI" in said and "Refused" not in said
    assert time.monotonic() - began < command.LINGER / 2  # it does not wait for what cannot come
    assert not list(tmp_path.glob("mlflow.db*"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{disk}/mlflow.db")
    assert sync(root) == 5 and runs(root)[0].info.status == "FINISHED"


def test_a_disk_without_locks_is_named(root, monkeypatch, capsys):
    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    whole_stage(root)
    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(notes.Refused, match=r"mlflow\.db\.lock cannot be locked.*-o flock"):
        sync(root)
    assert command.main(["--root", str(root)]) == 0
    assert "background.lock cannot be locked" in capsys.readouterr().err


def test_a_database_of_another_mlflow_is_not_touched(root, tmp_path, capsys):
    whole_stage(root)
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'cfd24bdc0731'")
    assert command.main(["--all", "--results", str(root.parent)]) == 1
    said = capsys.readouterr().err
    assert "its schema is cfd24bdc0731" in said and "mlflow db upgrade" in said
    assert said.count("\n") == 1
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchall() == [(0,)]
    assert notes.stale(root)


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_server_that_says_no_is_told_in_a_line_without_the_password(
    root, monkeypatch, capsys, status
):
    whole_stage(root)
    with answering(status) as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:s3cret@127.0.0.1:{port}")
        began = time.monotonic()
        assert command.main(["--all", "--results", str(root.parent)]) == 1
        assert command.main(["--ui", "--results", str(root.parent)]) == 1
        assert time.monotonic() - began < 20
    said = "".join(capsys.readouterr())
    assert said.count("\n") == 3 and "s3cret" not in said and str(status) in said
    assert ("MLFLOW_TRACKING_USERNAME" in said) == (status != 503)
    assert notes.stale(root)


def test_a_server_that_is_away_is_told_without_its_password(root, monkeypatch, capsys):
    begin(root)
    uri = "http://ada:s3cret@127.0.0.1:9"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert command.main(["--all", "--results", str(root.parent)]) == 1
    said = capsys.readouterr().err
    assert "http://ada:***@127.0.0.1:9 does not answer" in said and "make sync" in said
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ada:s3/cret@127.0.0.1/db")
    assert command.main(["--all", "--results", str(root.parent)]) == 1
    said = capsys.readouterr().err
    assert "s3" not in said and "write %2F for / in a password" in said


def test_the_notes_survive_a_new_password(root, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ada:old@127.0.0.1/db")
    (root / ".events").mkdir(parents=True)
    notes.save(root, {"experiment": ["1", 2], "groups": {}, "files": {}})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ada:new@127.0.0.1/db")
    assert notes.load(root)["experiment"] == ["1", 2]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ada:new@127.0.0.2/db")
    assert notes.load(root)["experiment"] is None
