"""Stores for the mirror's tests."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from steps.mirror import store
from steps.track import log


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """A store in which MLflow has made its tables, to be copied: making them takes 8 s."""
    folder = tmp_path_factory.mktemp("tables")
    root = folder / "results" / "study"
    root.mkdir(parents=True)
    store.connect(root)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "mlflow.db"


@pytest.fixture
def root(tmp_path, monkeypatch, tables):
    """A study's folder beside a store of its own; no mirror starts by itself."""
    monkeypatch.setenv("SIGHTLINE_MIRROR", "off")
    shutil.copy(tables, tmp_path / "mlflow.db")
    yield tmp_path / "results" / "study"
    log._close()
