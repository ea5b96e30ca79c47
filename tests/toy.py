"""A small stand-in for the repository: the real contract, rules and verbs around toy stages.

Every toy stage writes what it was given, so that a result changes exactly when it should. What
it does besides is told by the environment: TOY=hang:sft makes stage sft stop half-way.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

from steps.schema import Instrument

ROOT = Path(__file__).parents[1]
STAMPS = "stamps"
"""The stand-in's folder of photographs; nobody opens them."""
STAGE = '''"""A toy stage."""

import hashlib
import json
import os
import time
{extra}

def run(params, inputs, out):
    """Write the name, the params and the inputs' manifests."""
    told = {{n: v for n, v in vars(params).items() if not n.startswith("_") and n != "run"}}
    told = {{n: str(v if not hasattr(v, "_stage") else vars(v)) for n, v in sorted(told.items())}}
    for name, path in sorted(inputs.items()):
        files = sorted(p for p in path.rglob("*.json") if ".tmp-" not in str(p))
        files = [p for p in files if not p.name.endswith("record.json")]
        told[name] = hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()
    (out / "half.json").write_text("{{}}")
    if os.environ.get("TOY") == f"hang:{{params.run.stage}}":
        print("half-way", flush=True)
        time.sleep(600)
    (out / "told.json").write_text(json.dumps(told))
    return {{f"{{params.run.stage}}/size": len(told)}}
'''


def build(folder: Path, seeds: str = "[0]") -> Path:
    """Make the stand-in in `folder` (a git repository, as DVC likes it) and return it."""
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    for overlay in (folder / "workflow/studies").iterdir():
        shutil.rmtree(overlay) if overlay.is_dir() else None
    for name in (".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    for name in (".dvc", ".dvc-state"):
        rest = shutil.ignore_patterns("tmp", "cache", "[0-9a-f]" * 32)
        shutil.copytree(ROOT / name, folder / name, ignore=rest)
    text = re.sub(r"(?m)^seeds: .*$", f"seeds: {seeds}", (ROOT / "params.yaml").read_text())
    # An arm of each method, and one of the first seed alone, say what more arms would.
    text, count = re.subn(r"(?m)^  (anchor|shuffled|frozen_eye): \{method.*\n", "", text)
    assert count == 3
    # Every instrument, those that the default study leaves out among them.
    every = ", ".join(get_args(Instrument))
    text, count = re.subn(r"(?m)^instruments: .*$", f"instruments: [{every}]", text)
    assert count == 1
    (folder / "params.yaml").write_text(text)
    for part in ("aligned", "instruct"):
        (folder / "models/bundled" / part).mkdir(parents=True)
        shutil.copy(
            ROOT / "models/bundled" / part / "config.json", folder / "models/bundled" / part
        )
    _steps(folder)
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=folder, check=True)
    return folder


def few(folder: Path) -> Path:
    """Leave its studies three instruments: what happens to jobs needs no more of them."""
    for name in ("params.yaml", "workflow/studies/smoke.yaml"):
        edit(folder / name, r"^instruments:[^\]]*\]", "instruments: [vqa, classify, compare]")
    done = call(folder, "steps", "dvc", "--fix")
    assert done.returncode == 0, done.stderr
    return folder


def _steps(folder: Path) -> None:
    from steps.stage import STAGES

    stages = set(STAGES.values())
    for path in [*(ROOT / "steps").glob("*"), *(ROOT / "steps/schema").glob("*.py")]:
        if path.is_file():
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    shutil.copytree(ROOT / "steps/study", folder / "steps/study", dirs_exist_ok=True)
    for path in (ROOT / "steps").rglob("metrics.py"):  # what claims are checked against
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for room in ("own", "judge"):  # what a plan looks at before anything runs
        shutil.copytree(ROOT / "steps/data" / room, folder / "steps/data" / room)
    for module in stages:
        path = folder.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        extra = "from steps.encoder import shared  # noqa: F401\n" if "encoder.f" in module else ""
        path.write_text(STAGE.format(extra=extra))
    text = (ROOT / "steps/data/album.py").read_text()  # the real one, with stamps of our own
    text, count = re.subn(r"(?m)^STAMPS = .*$", f'STAMPS = Path("{STAMPS}")', text)
    assert count == 1
    (folder / "steps/data/album.py").write_text(text)
    for kind in ("animals", "food"):
        (folder / STAMPS / kind).mkdir(parents=True)
        for number in range(10):
            (folder / STAMPS / kind / f"{number}.png").write_text(f"{kind} {number}")
    (folder / "steps/encoder/shared.py").write_text('"""What features uses."""\n')


def call(folder: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment in the stand-in; `steps` stands for python -m steps."""
    return subprocess.run(
        line(command), cwd=folder, env=surroundings(env), capture_output=True, text=True
    )


def line(command: tuple[str, ...]) -> list[str]:
    """The command with this environment's programs."""
    name, *rest = command
    if name == "steps":
        return [sys.executable, "-m", "steps", *rest]
    return [str(Path(sys.executable).parent / name), *rest]


def surroundings(env: dict[str, str]) -> dict[str, str]:
    """The environment variables that the stand-in runs under."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {k: v for k, v in os.environ.items() if k not in ("SIGHTLINE_STUDY", "PYTHONPATH")}
    return clean | {"PATH": path, "SIGHTLINE_MIRROR": "off", "OMP_NUM_THREADS": "1"} | env


def edit(path: Path, pattern: str, new: str) -> None:
    """Replace the one match of a pattern in a file."""
    text, count = re.subn(pattern, new, path.read_text(), flags=re.M)
    assert count == 1, f"{pattern} stands {count} times in {path}"
    path.write_text(text)
