"""Which files of `steps` a module uses, read from its imports without running them.

Neither engine sees an edited import by itself. So each start of one writes down, for every stage,
these files and their hashes (`results/<study>/code/<stage>.txt`), and that is an input of its rule.
Counted are imports anywhere in a file, also inside functions, and data files beside a module that
it names in a string; empty files are not. The contract's own modules are left out: what they do
for every stage is summed up in the number in `steps/VERSION`, which is the dependency in their
stead, so that a comment in them does not run the whole study again. Raise it when they change what
stages write.
"""

import ast
import hashlib
from collections.abc import Iterator
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
        "meter",
        "nvml",
    )
)
"""Modules that stand for themselves by number; so does all of `steps.schema`."""


def files(module: str, package: Path = PACKAGE) -> list[str]:
    """Paths of the files that `module` uses, itself first, as in `steps/data/world.py`.

    module: dotted name, `steps.data.items`. package: the folder of `steps`. A module without a
    file is listed where it should be.
    """
    found: dict[str, None] = {}
    queue = [module]
    while queue:
        name = queue.pop(0)
        path = _path(name, package)
        if name in CONTRACT or f"{name}.".startswith("steps.schema.") or str(path) in found:
            continue
        if path.is_file():
            state = path.stat()
            if state.st_size == 0:
                continue  # an empty __init__.py says nothing
            uses, data = _uses(path, name, package, state.st_mtime_ns)
            queue += uses
            found |= dict.fromkeys([str(path), *data])
        else:
            found[str(path)] = None
    own, *others = found
    relative = [Path(p).relative_to(package.parent).as_posix() for p in (own, *sorted(others))]
    return [*relative, VERSION.relative_to(PACKAGE.parent).as_posix()]


def listing(module: str, package: Path = PACKAGE) -> str:
    """The files that a module uses and the contract's number, as `sha256sum` prints them.

    A file that is not there has a dash for its hash.
    """
    paths = {name: package.parent / name for name in files(module, package)}
    hashes = {n: _hash(p, p.stat().st_mtime_ns) if p.is_file() else "-" for n, p in paths.items()}
    return "".join(f"{hashes[name]}  {name}\n" for name in paths)


def digest(module: str, package: Path = PACKAGE) -> str:
    """SHA-256 of the listing: changes with whatever the module uses."""
    return hashlib.sha256(listing(module, package).encode()).hexdigest()


@cache
def _hash(path: Path, _mtime: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _path(module: str, package: Path) -> Path:
    place = package.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@cache
def _uses(path: Path, name: str, package: Path, _mtime: int) -> tuple[list[str], list[str]]:
    """The modules of `steps` that a file imports, and the data files that it names."""
    text = path.read_text()
    parts = name.split(".")
    here = parts if path.name == "__init__.py" else parts[:-1]
    uses: list[str] = []
    for node in _statements(ast.parse(text)):
        if isinstance(node, ast.Import):
            uses += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            uses += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    packages = [".".join(u.split(".")[:i]) for u in uses for i in range(2, len(u.split(".")))]
    packages.append(".".join(here))
    mine = {u for u in [*uses, *packages] if u.startswith("steps.") and u != name}
    beside = (p for p in path.parent.rglob("*") if p.suffix not in ("", ".py", ".pyc"))
    named = {p: p.relative_to(path.parent).as_posix() for p in beside if p.is_file()}
    data = [str(p) for p, told in named.items() if f'"{told}"' in text or f"'{told}'" in text]
    return sorted(use for use in mine if _path(use, package).is_file()), sorted(data)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in a module, function, class or branch, at any depth; no expressions in it.

    `ast.walk` takes five times as long, and each start of an engine reads every stage's modules.
    """
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, part, ()):
            yield child
            yield from _statements(child)
