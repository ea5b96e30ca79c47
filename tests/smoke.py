"""The repository as it stands, copied, to run the smoke study in with its real stages."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests import toy

STUDY = "smoke"
RESULTS = Path("results") / STUDY
PIPELINE = f"workflow/studies/{STUDY}/dvc.yaml"
PLACES = """
import json
from steps.study.examined import instances
from steps.study.plan import plan
from steps.study.rules import rules
found = instances(rules(plan()))
print(json.dumps([[r.name, str(out), r.command.format(**levels)] for r, levels, out in found]))
"""


def copy(folder: Path) -> Path:
    """Copy what git tracks, or will with the next `git add`, as a repository of its own.

    By bytes: a result may be a hard link to the bundled weights, and a test may damage it.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=toy.ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (toy.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(toy.ROOT / name, folder / name)
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=folder, check=True)
    done = call(folder, "steps", "study")
    assert done.returncode == 0, done.stderr
    return folder


def call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment in the copy, for the smoke study."""
    return toy.call(folder, *command, SIGHTLINE_STUDY=STUDY)


def start(engine: str, folder: Path, cores: int, log: Path) -> subprocess.Popen:
    """Start an engine on the whole study, in a process group of its own."""
    commands = {
        "snakemake": ("snakemake", "--cores", str(cores), "--quiet"),
        "dvc": ("dvc", "repro", PIPELINE),
    }
    with log.open("w") as file:
        return subprocess.Popen(
            toy.line(commands[engine]),
            cwd=folder,
            env=toy.surroundings({"SIGHTLINE_STUDY": STUDY}),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def places(folder: Path) -> dict[str, list[tuple[str, list[str]]]]:
    """For each stage every folder that it makes, and the command that an engine runs for it."""
    code = [sys.executable, "-c", PLACES]
    env = toy.surroundings({"SIGHTLINE_STUDY": STUDY})
    done = subprocess.run(code, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for name, out, command in json.loads(done.stdout):
        found.setdefault(name, []).append((out, [sys.executable, *command.split()[1:]]))
    return found


def manifests(folder: Path) -> dict[str, dict]:
    """Every result's manifest by the result's name, in the order in which they were finished."""
    root = folder / RESULTS
    paths = [p for p in root.rglob("manifest.json") if "/." not in str(p.relative_to(root))]
    paths.sort(key=lambda p: p.stat().st_mtime_ns)
    return {str(p.parent.relative_to(root)): json.loads(p.read_bytes()) for p in paths}


def hashes(found: dict[str, dict]) -> dict[str, str]:
    """The hash of every file that manifests name, in the manifests' order."""
    return {
        f"{out}/{name}": facts["sha256"]
        for out, manifest in found.items()
        for name, facts in manifest["files"].items()
    }


def first_difference(one: dict, other: dict) -> str:
    """The first key that two dicts do not share with equal values; empty where there is none."""
    return next((key for key in [*one, *other] if one.get(key) != other.get(key)), "")
