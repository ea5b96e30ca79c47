"""The connection to MLflow: bounded in time, quiet, and safe on a new sqlite file.

The store is an sqlite file, a server, or a database server asked directly (which wants the same
rights as MLflow's own server has; that is the better way for a group).
"""

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
from steps.mirror.words import masked

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
    "PGCONNECT_TIMEOUT": "5",  # libpq's own
}
KIND = {"mlflow.experimentKind": "custom_model_development"}  # pages for training, not for chats
DATABASES = ("postgresql", "mysql", "mssql", "oracle")


def connect(root: Path) -> MlflowClient:
    """A client of the study's store. Call it under the store's lock.

    A new sqlite file is made whole under another name first: two processes that both create the
    tables fail, and a kill half-way would leave a file that MLflow cannot mend.
    Raises ConnectionError where a server does not answer or a database does not open.
    """
    uri = notes.uri(root)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    _reachable(uri)
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

    On sqlite the artifacts go to `mlruns/<study>` beside the file, of a database without a server
    to the same beside `results/`; a server has its own place.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(root.name)
    if found is None:
        uri = notes.uri(root)
        file = notes.database(uri)
        folder = file.parent if file else notes.project(root)
        own = file or uri.startswith(DATABASES)
        place = (folder / "mlruns" / root.name).as_uri() if own else None
        try:
            client.create_experiment(root.name, place, KIND)
        except MlflowException:  # a clone that shares the store was faster, or there is a reason
            if client.get_experiment_by_name(root.name) is None:
                raise
        found = client.get_experiment_by_name(root.name)
    elif found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id, found.creation_time


def _reachable(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:  # whose text would quote what it took for a port
        raise notes.Refused(
            f"MLFLOW_TRACKING_URI {masked(uri)} cannot be read: write %2F for / in a password, "
            "%40 for @, %3A for : and %25 for %"
        ) from None
    if parts.scheme.partition("+")[0] in DATABASES:
        _opens(uri)
    if parts.scheme not in ("http", "https") or not host:
        return
    try:
        socket.create_connection(
            (host, port or (443 if parts.scheme == "https" else 80)), timeout=3
        ).close()
    except OSError as error:
        raise ConnectionError(
            f"MLFLOW_TRACKING_URI {masked(uri)} does not answer ({error}): the events are kept, "
            "run make sync when it is back"
        ) from None


def _opens(uri: str) -> None:
    """Ask a database once: MLflow itself would try ten times, over a hundred seconds."""
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    try:
        sqlalchemy.create_engine(uri, poolclass=NullPool).connect().close()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        why = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise ConnectionError(
            f"MLFLOW_TRACKING_URI {masked(uri)} does not open ({masked(why)}): the events are "
            "kept, run make sync when it does"
        ) from None
