"""The connection to MLflow: bounded in time, quiet, and safe on a new sqlite file."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from steps.mirror import notes

if TYPE_CHECKING:
    from mlflow import MlflowClient

# A server that is away must cost seconds: by default one call tries for four minutes. No retries:
# the next mirror is the retry, and a repeated "create run" could leave a run behind.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def connect(root: Path) -> MlflowClient:
    """A client of the study's store. Call it under the store's lock.

    A new sqlite file is made whole under another name first: two processes that both create the
    tables fail, and a kill half-way would leave a file that MLflow cannot mend.
    Raises ConnectionError where a server does not answer.
    """
    uri = notes.uri(root)
    _reachable(uri)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):  # after the import, which sets them
        logging.getLogger(name).setLevel(logging.ERROR)
    file = notes.database(uri)
    if file:
        if not file.exists() or not file.stat().st_size:
            new = file.with_name(f"{file.name}.{os.getpid()}.new")
            MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
            new.replace(file)
        with closing(sqlite3.connect(file, timeout=60)) as database:
            database.execute("PRAGMA journal_mode=WAL")  # readers and the writer in peace
    return MlflowClient(uri)


def experiment(client: MlflowClient, root: Path) -> tuple[str, int | None]:
    """The study's experiment, made if absent: its id and creation time (tells a re-made one).

    On sqlite the artifacts go to `mlruns/<study>` beside the file; a server has its own place.
    """
    found = client.get_experiment_by_name(root.name)
    if found is None:
        file = notes.database(notes.uri(root))
        place = (file.parent / "mlruns" / root.name).as_uri() if file else None
        found = client.get_experiment(client.create_experiment(root.name, place))
    elif found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id, found.creation_time


def _reachable(uri: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=3).close()
    except OSError as error:
        raise ConnectionError(
            f"MLFLOW_TRACKING_URI {uri} does not answer ({error}): the events are kept, "
            "run make sync when it is back"
        ) from None
