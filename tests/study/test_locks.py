"""Locks without an owner go, those of a living run stay; where none hold, that is said."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from steps.stage import StageError
from steps.study.locks import refuse_dvc, settle
from tests.mounted import mount

HOLD = (
    "import sys, time; from pathlib import Path; from steps.study.locks import settle\n"
    "alive = settle(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
)


def test_stale_locks_go_and_those_of_a_living_run_stay(tmp_path):
    folder = tmp_path / ".snakemake"
    (folder / "locks").mkdir(parents=True)
    lock = folder / "locks" / "0.output.lock"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout and other.stdout.readline() == "held\n"
    lock.write_text("results/a")
    mine = settle(folder)
    assert lock.exists()  # the other one lives
    mine.close()
    other.kill()
    other.wait()
    with settle(folder), settle(folder):  # two studies at once: the second clears nothing anew
        assert not lock.exists()
        lock.write_text("results/b")
        settle(folder).close()
        assert lock.exists()


def test_where_other_machines_runs_cannot_be_seen_nothing_is_cleared(tmp_path, monkeypatch):
    (tmp_path / "locks").mkdir()
    lock = tmp_path / "locks" / "0.output.lock"
    lock.touch()
    for kind, options, left in [("nfs", "nolock", True), ("nfs4", "vers=4.2", False)]:
        mount(monkeypatch, tmp_path, kind, options)
        settle(tmp_path).close()
        assert lock.exists() == left


def test_a_lock_is_asked_for_as_nfs_wants_it(tmp_path, monkeypatch):
    """There flock is a lock of bytes: a shared one needs a file open for reading; flock(2)."""
    plain = fcntl.flock

    def strict(file, operation):
        mode = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
        needed = os.O_WRONLY if operation & fcntl.LOCK_EX else os.O_RDONLY
        if mode not in (needed, os.O_RDWR):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        plain(file, operation)

    monkeypatch.setattr(fcntl, "flock", strict)
    settle(tmp_path).close()


def test_without_locks_the_study_runs_and_nothing_is_cleared(tmp_path, monkeypatch, capsys):
    def none(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", none)
    (tmp_path / "locks").mkdir()
    lock = tmp_path / "locks" / "0.output.lock"
    lock.touch()
    settle(tmp_path).close()
    assert lock.exists()
    said = capsys.readouterr().err
    assert f"{tmp_path} cannot be locked" in said and "snakemake --unlock" in said


def test_dvc_is_refused_on_a_network_until_it_is_set_up_for_one(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_SITE_CACHE_DIR", raising=False)
    project, disk = tmp_path / "project", tmp_path / "disk"
    (project / ".dvc").mkdir(parents=True)
    config = "[core]\n    no_scm = true\n    site_cache_dir = state\n"
    (project / ".dvc/config").write_text(config)
    monkeypatch.chdir(project)
    refuse_dvc()  # a disk of this machine
    mount(monkeypatch, project, "nfs4")
    both = r"hardlink_lock true` and `dvc config --local core\.site_cache_dir <"
    with pytest.raises(StageError, match=rf"nfs4 at {project}.*{both}"):
        refuse_dvc()
    (project / ".dvc/config.local").write_text("[core]\n    hardlink_lock = true\n")
    with pytest.raises(StageError, match="run `dvc config --local core.site_cache_dir <"):
        refuse_dvc()
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(disk))
    refuse_dvc()
    (project / ".dvc/config.local").write_text("")
    with pytest.raises(StageError, match="run `dvc config --local core.hardlink_lock true`$"):
        refuse_dvc()
