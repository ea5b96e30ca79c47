"""pyproject.toml is the source; the locks, environment.yml and what is installed follow it."""

import ast
import importlib.metadata as md
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
DIRECT = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRA = [Requirement(x) for part in PROJECT["optional-dependencies"].values() for x in part]
TORCH = next(r for r in DIRECT if r.name == "torch")
NEEDS = {"lock.txt": DIRECT, "pins.txt": DIRECT, "test.txt": DIRECT + EXTRA}
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
# What only a GPU build of torch asks for, and torch itself: left to each machine.
UNLOCKED = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
# Modules whose package bears another name.
PACKAGE = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "pyyaml", "ruamel": "ruamel-yaml"}


@cache
def lines(name):
    """The requirement lines of a lock, with their markers and without their hashes."""
    text = (LOCKS / name).read_text().replace("\\\n", " ")
    return [Requirement(line.split("--hash")[0]) for line in text.splitlines() if line.strip()]


def locked(name, python=None, machine=None):
    """What a lock installs here, or on Linux with the given Python and machine: {name: version}."""
    place = {key: str(value) for key, value in default_environment().items()}
    if python:
        place |= {"python_version": python, "python_full_version": python + ".5"}
    if machine:
        place |= {"platform_machine": machine, "sys_platform": "linux"}
    found = {}
    for line in lines(name):
        if line.marker is None or line.marker.evaluate(place):
            key = canonicalize_name(line.name)
            assert key not in found, f"{name} names {key} twice for Python {python}, {machine}"
            found[key] = str(line.specifier).removeprefix("==")
    return found


@cache
def reached(name):
    """Follow the installed packages' own requirements from the direct ones: {name: [asked]}."""
    found, done, queue = {}, set(), [(r, frozenset(r.extras)) for r in NEEDS[name]]
    while queue:
        asked, extras = queue.pop()
        key = canonicalize_name(asked.name)
        found.setdefault(key, []).append(asked)
        if (key, extras) in done or (UNLOCKED.fullmatch(key) and key != "torch"):
            continue
        done.add((key, extras))
        for line in map(Requirement, md.requires(key) or []):
            wanted = [{"extra": extra} for extra in extras | {""}]
            if line.marker is None or any(line.marker.evaluate(extra) for extra in wanted):
                queue.append((line, frozenset(line.extras)))
    return found


@pytest.mark.parametrize("name", NEEDS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_every_lock_answers_pyproject_everywhere(name, python, machine):
    have = locked(name, python, machine)
    for asked in NEEDS[name]:
        if asked.name == "torch":
            continue
        version = have.get(canonicalize_name(asked.name))
        assert version and asked.specifier.contains(version), f"{asked}, but {name} has {version}"


@pytest.mark.parametrize("name", ("lock.txt", "test.txt"))
def test_a_lock_is_closed_and_holds_nothing_else(name):
    have = locked(name)
    wanted = {k: v for k, v in reached(name).items() if not UNLOCKED.fullmatch(k)}
    assert set(have) == set(wanted)
    clash = [str(r) for k in have for r in wanted[k] if not r.specifier.contains(have[k], True)]
    assert not clash


@pytest.mark.parametrize("name", ("lock.txt", "test.txt"))
def test_each_locked_line_has_a_hash(name):
    text = (LOCKS / name).read_text().replace("\\\n", " ")
    assert [x for x in text.splitlines() if x.strip() and "--hash=sha256:" not in x] == []


def test_the_locks_agree():
    lock, pins = lines("lock.txt"), lines("pins.txt")
    assert list(map(str, lock)) == list(map(str, pins))
    # test.txt may need a package on more machines than the study does, so compare versions only.
    for python in PYTHONS:
        whole = locked("test.txt", python, "x86_64")
        assert locked("lock.txt", python, "x86_64").items() <= whole.items()


def test_environment_yml_follows():
    conda = [line for line in CONDA["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in CONDA["dependencies"] if isinstance(line, dict)]
    assert pip == [str(TORCH), "-r requirements/pins.txt"]
    assert [line.split()[0] for line in conda] == ["python", "pip"]
    python = conda[0].split()[1].strip("=.*")
    assert python in PYTHONS and set(CONDA) == {"name", "channels", "dependencies"}


def test_conda_reads_each_of_its_lines():
    from rattler import MatchSpec

    for line in CONDA["dependencies"]:
        if isinstance(line, str):
            MatchSpec(line, strict=True)


def test_the_pythons_are_those_of_pyproject():
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [p for p in ("3.10", *PYTHONS, "3.14") if allowed.contains(p + ".5")] == list(PYTHONS)


def test_the_installed_set_is_the_lock():
    differ = {k: (v, md.version(k)) for k, v in locked("test.txt").items() if md.version(k) != v}
    assert not differ, "make setup, or delete .venv"
    assert md.version("torch").split("+")[0] == str(TORCH.specifier).removeprefix("==")


def test_what_steps_imports_is_declared():
    declared = {canonicalize_name(r.name) for r in DIRECT}
    missing = set()
    for path in sorted((ROOT / "steps").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for top in {n.split(".")[0] for n in names} - sys.stdlib_module_names - {"steps"}:
                if canonicalize_name(PACKAGE.get(top, top)) not in declared:
                    missing.add(f"{path.relative_to(ROOT)} imports {top}")
    assert not missing
