"""Servers of a test's own on this machine: MLflow's, and PostgreSQL for it to keep its runs in."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from steps.mirror import ui
from tests.mirror.study import until

PASSWORD = "s3cret/of@tests"
QUOTED = "s3cret%2Fof%40tests"


@contextmanager
def serving(folder, port, store):
    """MLflow's own server on a port of this machine; ended by SIGKILL, workers and all."""
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    env.pop("MLFLOW_TRACKING_URI", None)
    env["MLFLOW_BACKEND_STORE_URI"] = store  # a command line may be read by everybody
    arguments = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    arguments += ["--port", str(port), "--artifacts-destination", str(folder / "artifacts")]
    with open(folder / "server.log", "ab") as output:
        server = subprocess.Popen(
            arguments, cwd=folder, env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        until(lambda: healthy(port) or server.poll() is not None, "the server")
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def healthy(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


class Postgres:
    """A cluster of PostgreSQL with one user and a password; it does not run as root."""

    def __init__(self, programs: Path) -> None:
        self.programs, self.port = programs, ui.free(25400)
        # Not below pytest's own folder, which nobody but its owner may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="sightline-postgres-"))
        self.user = []
        if os.geteuid() == 0:
            self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
            shutil.chown(self.folder, "postgres", "postgres")
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        arguments = ["-D", str(self.folder / "data"), "-U", "mlflow", f"--pwfile={secret}"]
        arguments += ["-A", "scram-sha-256", "--no-sync"]
        subprocess.run(self._line("initdb", *arguments), check=True, capture_output=True, cwd="/")
        self.start()
        self.rows("CREATE DATABASE mlflow", "postgres")

    def _line(self, program: str, *arguments: str) -> list[str]:
        return [*self.user, str(self.programs / program), *arguments]

    def start(self) -> None:
        """Start it, and wait until it lets its user in."""
        where = ["-D", str(self.folder / "data"), "-p", str(self.port), "-h", "127.0.0.1"]
        with open(self.folder / "log", "ab") as output:
            self.process = subprocess.Popen(
                self._line("postgres", *where, "-k", "", "-F"), stderr=output, cwd="/"
            )
        until(self._open, "PostgreSQL")

    def stop(self, signal_: int = signal.SIGQUIT) -> None:
        """End it, by default as a crash would: at once, whoever is connected."""
        self.process.send_signal(signal_)
        self.process.wait(timeout=60)

    def remove(self) -> None:
        """End it and leave nothing."""
        with suppress(ProcessLookupError):
            self.stop()
        shutil.rmtree(self.folder)

    def uri(self, user: str = f"mlflow:{QUOTED}@") -> str:
        """The address of the runs' database."""
        return f"postgresql://{user}127.0.0.1:{self.port}/mlflow"

    def rows(self, query: str, database: str = "mlflow") -> list[tuple]:
        """What a query brings, past MLflow."""
        import psycopg2

        facts = {"host": "127.0.0.1", "port": self.port, "user": "mlflow", "password": PASSWORD}
        with closing(psycopg2.connect(dbname=database, **facts)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall() if cursor.description else []

    def _open(self) -> bool:
        import psycopg2

        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return bool(self.rows("SELECT 1", "postgres"))
        except psycopg2.OperationalError:
            return False
