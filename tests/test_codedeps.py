"""Which files a module uses, seen without running it."""

import pytest

from steps import codedeps
from steps.stage import STAGES


@pytest.fixture
def package(tmp_path):
    """A package `steps` of small files, and a function that writes one more."""

    def write(name, text):
        path = tmp_path / "steps" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("VERSION", "1\n")
    write("data/__init__.py", "")
    write("data/world.py", "import numpy\n")
    write("data/deep.py", "from steps.data import world\n")
    write("models/__init__.py", "'''Words.'''\n")
    write("models/load.py", "def f():\n    from steps.data.deep import x\n")
    write("stage.py", "from steps.data import never\n")
    write("data/never.py", "1\n")
    write("schema/__init__.py", "from steps.data import never\n")
    return tmp_path / "steps", write


def found(package, text):
    folder, write = package
    write("models/main.py", text)
    return [name.removeprefix("steps/") for name in codedeps.files("steps.models.main", folder)]


ALWAYS = ["models/main.py", "models/__init__.py", "VERSION"]


@pytest.mark.parametrize(
    "text",
    [
        "from steps.models import load",
        "from steps.models.load import f",
        "import steps.models.load",
        "import steps.models.load as l",
        "from . import load",
        "from .load import f",
        "def g():\n    if 1:\n        from steps.models.load import f",
    ],
)
def test_imports_of_every_form_are_followed_all_the_way(package, text):
    deep = ["data/deep.py", "data/world.py", "models/__init__.py", "models/load.py"]
    assert found(package, text) == ["models/main.py", *deep, "VERSION"]


def test_the_contract_stands_for_itself_by_number(package):
    text = "from steps.stage import StageError\nfrom steps.schema import Params\nimport json"
    assert found(package, text) == ALWAYS


def test_a_data_file_that_is_named_is_used(package):
    package[1]("models/names.txt", "a\n")
    package[1]("models/other.txt", "a\n")
    names = found(package, "from pathlib import Path\nx = Path(__file__).with_name('names.txt')")
    assert names == ["models/main.py", "models/__init__.py", "models/names.txt", "VERSION"]


def test_a_circle_ends(package):
    package[1]("models/other.py", "from steps.models import main")
    names = found(package, "from steps.models import other")
    assert names == ["models/main.py", "models/__init__.py", "models/other.py", "VERSION"]


def test_the_digest_changes_with_what_is_used_only(package):
    folder, write = package
    write("models/main.py", "from steps.models import load")
    first = codedeps.digest("steps.models.main", folder)
    write("stage.py", "# a comment\n")
    write("data/never.py", "2\n")
    assert codedeps.digest("steps.models.main", folder) == first
    write("data/world.py", "import numpy  # edited\n")
    second = codedeps.digest("steps.models.main", folder)
    write("VERSION", "2\n")
    assert len({first, second, codedeps.digest("steps.models.main", folder)}) == 3


def test_contract_modules_are_there_and_nothing_else_is_left_out():
    for name in codedeps.CONTRACT:
        path = codedeps.PACKAGE.joinpath(*name.split(".")[1:])
        assert path.with_suffix(".py").is_file() or path.is_dir(), name
    for module in STAGES.values():
        assert not {module} & codedeps.CONTRACT


def test_an_import_seen_here_is_one_that_python_sees():
    """What importing a real module loads of `steps` is among what is declared for it."""
    import subprocess
    import sys

    module = "steps.encoder.scores"
    code = (
        f"import sys, {module}\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('steps.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    root = codedeps.PACKAGE.parent
    loaded = {p.removeprefix(f"{root}/") for p in done.stdout.split() if p != "None"}
    contract = {f"{name.replace('.', '/')}.py" for name in codedeps.CONTRACT}
    loaded = {p for p in loaded - contract if "schema" not in p and (root / p).stat().st_size}
    assert loaded and loaded <= set(codedeps.files(module))
