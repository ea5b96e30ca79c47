"""`make ui`: MLflow's pages on this machine, opened on the table of runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import nullcontext, suppress
from pathlib import Path

from steps.mirror import notes, store
from steps.mirror.words import masked

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the pages, and the server with them."""


def serve(results: Path, port: int = 5000) -> int:
    """Serve the store on 127.0.0.1 until interrupted, print a link a study; the exit status.

    Where MLFLOW_TRACKING_URI names a server, only the links are printed. Job execution is off:
    it would start eight processes more, and open an interface that runs code.
    """
    root = results / "-"  # any study's folder: they share one store
    uri = notes.uri(root)
    with notes.locked(notes.store_lock(root)) if notes.database(uri) else nullcontext():
        client = store.connect(root)
        studies = client.search_experiments(order_by=["last_update_time DESC"])
    studies = [study for study in studies if study.name != "Default"] or studies
    if uri.startswith("http"):
        _links(masked(uri).replace("***@", "").rstrip("/"), studies)
        return 0
    port = free(port)
    command = [sys.executable, "-m", "mlflow", "ui"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]  # else the link scrolls away
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment["MLFLOW_BACKEND_STORE_URI"] = uri  # on the command line all could read a password
    print("MLflow is starting (Ctrl-C ends it) ...", flush=True)
    ends = [s for s in ENDS if signal.getsignal(s) is not signal.SIG_IGN]  # nohup ignores one
    for one in ends:
        signal.signal(one, signal.default_int_handler)
    server = None
    try:
        server = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        if _answers(f"http://127.0.0.1:{port}/health", server):
            _links(f"http://127.0.0.1:{port}", studies)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for one in ends:  # a terminal that closes may say so twice
            signal.signal(one, signal.SIG_IGN)
        if server:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)  # it and its worker
            server.wait()


def free(port: int) -> int:
    """The first free port of this machine from `port` on (100 tried, then OSError)."""
    for candidate in range(port, port + 100):
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return candidate
    raise OSError(f"--port {port}: no free port among the 100 from there; give another")


def _answers(url: str, server: subprocess.Popen[bytes]) -> bool:
    while server.poll() is None:  # 9 s on an idle machine, minutes on a busy one
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    return False


def _links(server: str, studies: list) -> None:
    for study in studies:
        page = f"#/experiments/{study.experiment_id}/runs?workflowType=machine_learning"
        print(f"{study.name}: {server}/{page}", flush=True)
