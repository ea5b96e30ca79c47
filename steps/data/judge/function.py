"""A reward of one's own: a function in a Python file that params.yaml names."""

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from steps.stage import Missing, StageError


def named(path: Path, name: str, key: str = "data.reward") -> None:
    """Check that a file is there, is Python and defines a function, without running it."""
    said = f"{key} = '{path}:{name}'"
    if not path.is_file():
        raise Missing(f"{said}: there is no file {path}: give the path from the repository's root")
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise StageError(f"{said}: {path} is not Python ({error}): mend it") from None
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if name not in functions:
        raise StageError(
            f"{said}: {path} has no function {name}; there are {', '.join(functions) or 'none'}"
        )


def load(path: Path, name: str) -> Callable[..., Any]:
    """The function `name` of the file at `path`, and of no other of the same name elsewhere.

    Nothing is added to where Python looks for modules: the file imports what is installed. Raises
    StageError where it cannot be run.
    """
    named(path, name)
    spec = importlib.util.spec_from_file_location("reward_of_ones_own", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return getattr(module, name)
    except Exception as error:  # it is the user's code: whatever it raises is theirs to mend
        raise StageError(
            f"the reward file {path} cannot be run ({type(error).__name__}: {error}): mend it"
        ) from error
