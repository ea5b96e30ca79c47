"""The house rules that a reader relies on, held by looking at the files themselves."""

import ast
import re
import subprocess
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from steps.stage import STAGES

ROOT = Path(__file__).parents[1]
STEPS = ROOT / "steps"
# What a file of each wing may import: its own wing, and wings of a lower storey. The wings of one
# storey may use each other only one way. What is not a wing stands on the ground floor.
STOREY = {"data": 1, "models": 2, "posttrain": 3, "encoder": 4, "behaviour": 4, "diff": 4}
STOREY |= {"study": 5, "mirror": 6, "__main__": 6}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(STEPS.rglob("*.py"))
}


def imported(path):
    """Every module that a file names in an import, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write `from steps...`, not a relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


# Importing a.b.c runs a and a.b too, but no package of ours holds code that would matter here.
GRAPH = {name: imported(path) & set(MODULES) - {"steps", name} for name, path in MODULES.items()}


def wing(module):
    """`steps.encoder.segment` -> `encoder`."""
    return module.split(".")[1]


def tracked(*patterns):
    """Paths that git tracks, or will with the next `git add`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in sorted(set(out.split("\0"))) if name]
    return [path for path in paths if path.is_file()]


CODE = tracked("*.py", "*.smk", "*Snakefile", "*.sh")


def test_no_file_is_too_long_to_read():
    rooms = [path for path in CODE if {"steps", "workflow"} & set(path.relative_to(ROOT).parts[:1])]
    assert len(rooms) > 10
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in rooms}
    assert {name: n for name, n in lengths.items() if n > 250} == {}


def test_no_line_is_wider_than_a_hundred_columns():
    written = tracked("Makefile", "params.yaml", ":(glob)workflow/studies/*.yaml")
    wide = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*CODE, *written]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 100
    ]
    assert wide == []


def test_imports_point_one_way():
    wrong = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in sorted(others)
        if module != "steps" and STOREY.get(wing(other), 0) > STOREY.get(wing(module), 0)
    ]
    assert wrong == []


@pytest.mark.parametrize("by", ["module", "wing"])
def test_imports_go_in_no_circle(by):
    graph = GRAPH
    if by == "wing":
        graph = {}
        for module, others in GRAPH.items():
            if module != "steps":
                mine = graph.setdefault(wing(module), set())
                mine |= {wing(other) for other in others} - {wing(module)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_knows_no_engine(stage):
    seen, queue = set(), [STAGES[stage], "steps.stage"]
    assert STAGES[stage] in MODULES, f"{stage} names {STAGES[stage]}, which is not there"
    while queue:
        module = queue.pop()
        if module not in seen:
            seen.add(module)
            queue += GRAPH[module]
    engines = {"mlflow", "snakemake", "dvc"}
    known = {m: {name.split(".")[0] for name in imported(MODULES[m])} & engines for m in seen}
    assert {module: names for module, names in known.items() if names} == {}


def test_helpers_are_named_by_topic():
    vague = {"utils", "util", "common", "helpers", "misc"}
    assert [path.relative_to(ROOT) for path in CODE if path.stem in vague] == []


def test_nothing_is_pickled():
    """Weights are safetensors, arrays are read with allow_pickle off, or by a safe format."""
    unsafe = re.compile(r"\btorch\.(?:load|save)\(|allow_pickle\s*=\s*True|\bread_pickle\(")
    modules = {"pickle", "joblib", "dill", "cloudpickle"}
    found = [p.relative_to(ROOT) for p in MODULES.values() if unsafe.search(p.read_text())]
    found += [m for m, path in MODULES.items() if modules & imported(path)]
    assert found == []


def test_locks_name_no_host():
    locks = [*tracked("requirements/*.txt"), ROOT / "environment.yml", ROOT / "pyproject.toml"]
    assert len(locks) == 5
    assert [path.name for path in locks if "://" in path.read_text()] == []


def test_no_path_of_one_machine():
    private = re.compile(r"(?<![\w.*-])/(?:work|root|home|Users|opt|mnt)/[\w.]")
    binary = {".safetensors", ".npy", ".parquet", ".png", ".gz"}
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix not in binary
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if private.search(line)
    ]
    assert found == []


def test_links_between_pages_lead_somewhere():
    pages = [path for path in tracked() if path.suffix == ".md"]
    assert len(pages) > 20
    dead = []
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, place = link.partition("#")
            goal = page.parent / path if path else page
            if "://" in link or (goal.exists() and not place):
                continue
            heads = re.findall(r"(?m)^#+ (.*)$", goal.read_text()) if goal.suffix == ".md" else []
            if place not in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}:
                dead.append(f"{page.relative_to(ROOT)}: {link}")
    assert dead == []
