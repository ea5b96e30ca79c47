"""The stand-in of the repository, bare or with its study finished and adopted by both engines.

And the repository itself, copied, with its smoke study finished by one engine.
"""

import os
import re
import shutil
import signal

import pytest

from tests import smoke, toy


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """A stand-in in which nothing ran yet; read it only."""
    folder = toy.build(tmp_path_factory.mktemp("bare") / "study")
    done = toy.call(folder, "steps", "dvc", "--fix")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def adopted(bare, tmp_path_factory):
    """A stand-in whose study Snakemake ran and both engines took as their own; read it only."""
    folder = tmp_path_factory.mktemp("adopted") / "study"
    shutil.copytree(bare, folder, symlinks=True)
    for command in (["snakemake", "--cores", "2", "--quiet"], ["steps", "adopt"]):
        done = toy.call(folder, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def house(bare, tmp_path):
    """A copy of `bare` to do things to."""
    return shutil.copytree(bare, tmp_path / "study", symlinks=True)


@pytest.fixture
def ran(adopted, tmp_path):
    """A copy of `adopted` to do things to; times are kept, which engines look at."""
    return shutil.copytree(adopted, tmp_path / "study", symlinks=True)


@pytest.fixture
def snakemake_plans():
    """`plans(folder)`: what Snakemake would run, and what by its own account (not for inputs).

    For a target of its own and with other variables, where they are given.
    """

    def plans(folder, target="all", **variables):
        done = toy.call(folder, "snakemake", target, "--dry-run", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        text = done.stdout + done.stderr
        table = text.partition("Job stats:")[2].partition("total")[0]
        planned = {name: int(n) for name, n in re.findall(r"(?m)^(\w+)\s+(\d+)$", table)}
        planned.pop(target, None)
        direct = set(re.findall(r"Rules with provenance triggered jobs: (.*)", text)[:1])
        return planned, {name for names in direct for name in re.findall(r"\w+", names)}

    return plans


@pytest.fixture
def dvc_changed():
    """`changed(folder)`: stages whose own dependencies or outputs changed, for DVC.

    Not among them: the check, which DVC runs each time.
    """
    import json

    def changed(folder):
        done = toy.call(folder, "dvc", "status", "--json")
        assert done.returncode == 0, done.stderr
        names = {name.partition("@")[0] for name in json.loads(done.stdout)} - {"check"}
        return {name.removesuffix("_first1") for name in names}

    return changed


@pytest.fixture(scope="session")
def finished(request, tmp_path_factory):
    """`finished(engine)`: a copy of the repository whose smoke study that engine alone ran.

    Engines that this session's tests ask for start together, with one core each if they are two:
    DVC uses only one, so this is sooner than one after the other.
    """
    asked = {name for item in request.session.items for name in _fixtures(item)}
    engines = [engine for engine in ("snakemake", "dvc") if f"by_{engine}" in asked]
    folders, running, logs = {}, {}, {}
    try:
        fresh = smoke.copy(tmp_path_factory.mktemp("smoke") / "study")  # one, of one moment
        for engine in engines:
            folders[engine] = tmp_path_factory.mktemp(f"by_{engine}") / "study"
            shutil.copytree(fresh, folders[engine], symlinks=True)
            logs[engine] = folders[engine].with_name("log")
            cores = 2 // len(engines)
            running[engine] = smoke.start(engine, folders[engine], cores, logs[engine])

        def wait(engine):
            assert running[engine].wait() == 0, logs[engine].read_text()[-5000:]
            return folders[engine]

        yield wait
    finally:
        for process in running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _fixtures(item):
    """The fixtures that a test asks for, also by a parameter `engine`."""
    by_name = getattr(item, "callspec", None) and item.callspec.params.get("engine")
    return [*getattr(item, "fixturenames", []), *([f"by_{by_name}"] if by_name else [])]


@pytest.fixture(scope="session")
def by_snakemake(finished):
    """The smoke study, run by Snakemake; take a copy to do things to it."""
    return finished("snakemake")


@pytest.fixture(scope="session")
def by_dvc(finished):
    """The smoke study, run by DVC."""
    return finished("dvc")
