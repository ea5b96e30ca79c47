"""Which files of `steps` a module uses, read from its imports without running them.

Neither engine sees an edited import by itself, so every rule declares these files as inputs.
Counted are imports anywhere in a file, also inside functions, and data files beside a module that
it names in a string; empty files are not. The contract's own modules are left out: what they do
for every stage is summed up in the number in `steps/VERSION`, which is the dependency in their
stead, so that a comment in them does not run the whole study again. Raise it when they change what
stages write.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
VERSION = PACKAGE / "VERSION"
CONTRACT = frozenset(
    f"steps.{name}"
    for name in (
        "stage",
        "params",
        "place",
        "record",
        "track",
        "manifest",
        "codedeps",
        "halt",
        "mirror",
        "spool",
    )
)
"""Modules that stand for themselves by number; so does all of `steps.schema`."""


def files(module: str, package: Path = PACKAGE) -> list[str]:
    """Paths of the files that `module` uses, itself first, as in `steps/data/world.py`.

    module: dotted name, `steps.data.items`. package: the folder of `steps`. A module without a
    file is listed where it should be, so that an engine says that it is missing.
    """
    found: dict[str, None] = {}
    queue = [module]
    while queue:
        name = queue.pop(0)
        path = _path(name, package)
        if name in CONTRACT or f"{name}.".startswith("steps.schema.") or str(path) in found:
            continue
        if path.is_file() and path.stat().st_size == 0:
            continue  # an empty __init__.py says nothing
        found[str(path)] = None
        if path.is_file():
            uses, data = _uses(path, name, path.stat().st_mtime_ns)
            queue += [use for use in uses if _path(use, package).is_file()]
            found |= dict.fromkeys(data)
    own, *others = found
    relative = [Path(p).relative_to(package.parent).as_posix() for p in (own, *sorted(others))]
    return [*relative, VERSION.relative_to(PACKAGE.parent).as_posix()]


def digest(module: str, package: Path = PACKAGE) -> str:
    """SHA-256 over the files that a module uses and the contract's number."""
    total = hashlib.sha256()
    for name in files(module, package):
        total.update(name.encode() + b"\0" + (package.parent / name).read_bytes() + b"\0")
    return total.hexdigest()


def _path(module: str, package: Path) -> Path:
    place = package.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@cache
def _uses(path: Path, name: str, _mtime: int) -> tuple[list[str], list[str]]:
    """The modules of `steps` that a file imports (perhaps names within one), its data files."""
    tree = ast.parse(path.read_text())
    parts = name.split(".")
    here = parts if path.name == "__init__.py" else parts[:-1]
    uses: list[str] = []
    data: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            uses += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            uses += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            beside = path.parent / node.value if 0 < len(node.value) < 80 else path
            if beside.suffix not in ("", ".py") and node.value.isprintable() and beside.is_file():
                data.append(str(beside))
    packages = [".".join(u.split(".")[:i]) for u in uses for i in range(2, len(u.split(".")))]
    packages.append(".".join(here))
    mine = [u for u in [*uses, *packages] if u.startswith("steps.") and u != name]
    return sorted(set(mine)), sorted(set(data))
