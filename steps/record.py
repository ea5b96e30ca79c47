"""What a run cost and what it ran with: times, memory, host, package versions."""

import importlib.metadata
import os
import platform
import resource
import socket
import sys
import time
from typing import Any

PACKAGES = (
    "numpy",
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "safetensors",
    "tokenizers",
    "pyarrow",
    "pandas",
    "scikit-learn",
    "pillow",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a stage computes."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


class Watch:
    """Measures one run, from its making to `record`."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._start = time.time()
        self._clock = time.monotonic()

    def record(self, facts: dict[str, Any]) -> dict[str, Any]:
        """`facts`, with wall and CPU time in seconds, peak memory in MB, host and engine."""
        own, children = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, -1))
        peak = max(own.ru_maxrss, children.ru_maxrss)  # kilobytes, bytes on macOS
        return {
            **facts,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._start)),
            "wall_s": round(time.monotonic() - self._clock, 3),
            "cpu_s": round(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, 3),
            "peak_mb": round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1),
            "threads": self._threads,
            "host": socket.gethostname(),
            "platform": platform.platform(),
            "engine": "dvc" if "DVC_STAGE" in os.environ else "snakemake or by hand",
        }
