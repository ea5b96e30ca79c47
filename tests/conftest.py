"""What every test runs under: no network, one thread, nothing of the user's own settings."""

import os
import signal
import socket
from pathlib import Path

import pytest

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    OMP_NUM_THREADS="1",  # read when torch is first imported: one thread, here and in children
    MKL_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
    DVC_NO_ANALYTICS="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    WANDB_MODE="disabled",
    SIGHTLINE_MIRROR="off",  # a test of the mirror turns it on for itself
)
# A test that logs must name its own store; it never reaches the one that the user works with.
os.environ.pop("MLFLOW_TRACKING_URI", None)
# A shell's background job ignores Ctrl-C and so do its children, who are to be interrupted here.
signal.signal(signal.SIGINT, signal.default_int_handler)


TOGETHER = {
    "tests/dag/test_parity.py": "the finished smoke study",
    "tests/dag/test_faults.py": "the finished smoke study",
    "tests/dag/test_changes.py": "the adopted stand-in",
    "tests/dag/test_remote.py": "the adopted stand-in",
}
"""Files whose tests need the same minutes of preparation: one of several processes runs them."""

LONGEST = (
    "the finished smoke study",
    "the adopted stand-in",
    *("tests/models/test_bundled.py", "tests/encoder/test_reuse.py"),
    "tests/slurm/test_jobs.py",  # not beside both engines of the first: it has limits of time
    *("tests/dag/test_kill.py", "tests/posttrain/test_scale.py", "tests/models/test_hub.py"),
    *("tests/study/test_gpucheck.py", "tests/study/test_look.py", "tests/dag/test_made.py"),
)
"""What runs first: were it last, one process would have it and the others nothing."""


def _prepared(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return TOGETHER.get(file, file)


def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadFileScheduling

    class ByPreparation(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return _prepared(nodeid)

    config.option.loadscopereorder = False  # files of many tests are not those that take long
    return ByPreparation(config, log)


def pytest_collection_modifyitems(items):
    order = {scope: n for n, scope in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(_prepared(item.nodeid), len(order)))


def pytest_configure(config):
    config.pluginmanager.register(Failed(config))


class Failed:
    """Names each failure when it happens: a run that is cut off says by then what it found."""

    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = (crash.message if crash else str(report.longrepr)).strip().splitlines()
            reporter.write_line(f"\nFAILED {report.nodeid} ({report.when}) {' '.join(said)[:200]}")


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """Fail at once, by name, where a test would reach out to another machine."""
    connect = socket.socket.connect

    def local_only(self, address):
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in ("localhost", "127.0.0.1", "::1"):
            raise OSError(f"a test tried to reach {host}: tests run offline")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(scope="session")
def discs():
    """Photographs that are discs, each of a colour, under the stamps' names."""
    import numpy as np
    from PIL import Image

    from steps.data import photos
    from steps.data import stamps as table

    kept = [row for row in table.listed() if row["verdict"] == "keep"]
    rows = [row for row in kept if row["category"] in table.words()[0]]
    split = table.split(rows)
    y, x = np.mgrid[:40, :40] - 19.5
    pictures = []
    for i in range(len(rows)):
        disc = np.zeros((40, 40, 4), np.uint8)
        disc[np.hypot(y, x) < 19] = (37 * i % 256, 101 * i % 256, 197 * i % 256, 255)
        pictures.append(Image.fromarray(disc))
    names, nouns, kinds = ([row[k] for row in rows] for k in ("name", "noun", "category"))
    paths = [row["path"] for row in rows]
    return photos.Photos(paths, names, nouns, kinds, [split[p] for p in paths], {}, [], pictures)


@pytest.fixture(scope="module")
def photographed(discs):
    """A world of photographs, which for the tests of one module are discs."""
    from steps import params

    told = {"sprites": "photos", "letter_share": 0.0, "contrast": 1.0, "repeat": 0.45, "noise": 5.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steps.data.world.stamps", lambda: discs)
        world = params.load(Path(__file__).parents[1] / "params.yaml").world
        yield world.model_copy(update=told)


@pytest.fixture(scope="session")
def need_debian():
    """Give `need(package, path)`: the path that a Debian package brings.

    Where it is absent the test is skipped by the package's name; under CI=true, where everything
    must run, it fails.
    """

    def need(package, path):
        path = Path(path)
        if path.exists():
            return path
        reason = f"no {path}: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    return need
