"""The typed view of params.yaml, and the only reader of it.

`load` checks the whole file; `view` gives a stage the sections that its rule declares and no
others. A wrong key or value is one sentence that names it, before anything runs.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from steps.schema import METHODS, Params
from steps.schema.agree import disagreements
from steps.schema.errors import sentence

ROOT = Path("params.yaml")
STUDIES = Path("workflow/studies")


class ParamsError(Exception):
    """params.yaml, or an overlay on it, says something that is not allowed."""


class _Loader(yaml.SafeLoader):
    """YAML as DVC reads it (1.2): 1e-4 is a number, yes and no are words; no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(k, deep=True) for k, _ in node.value]
        twice = [k for k in keys if keys.count(k) > 1]
        if twice:
            raise ParamsError(f"line {node.start_mark.line + 1}: key {twice[0]!r} stands twice")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [r for r in resolvers if not r[0].endswith((":bool", ":float", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|false|True|False)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.?\d+[eE][-+]?\d+|\.\d+|\.inf|\.nan)$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file (an empty file is an empty one). Raises ParamsError."""
    try:
        content = yaml.load(path.read_text(), _Loader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist") from None
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if content is not None and not isinstance(content, dict):
        raise ParamsError(f"{path} holds a {type(content).__name__}: give sections with keys")
    return content or {}


def check(values: dict[str, Any], where: Path | str = ROOT) -> Params:
    """Values as Params, or ParamsError with one sentence; `where` is named in it."""
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError(f"{where}: {sentence(error, Params)}") from None
    for arm, spec in params.arms.items():
        kind = METHODS[spec.method]
        if kind is None and spec.overrides:
            key, value = next(iter(spec.overrides.items()))
            raise ParamsError(f"{where}: arms.{arm}.{key} = {value!r}: method none has no keys")
        try:
            params.arm_section(arm)
        except ValidationError as error:
            assert kind is not None
            raise ParamsError(f"{where}: {sentence(error, kind, f'arms.{arm}.')}") from None
    own = {"diff.seeds": ("compare", params.diff.seeds), "gaze.seeds": ("gaze", params.gaze.seeds)}
    for key, seeds in (("seeds", params.seeds), *((k, v) for k, (_, v) in own.items())):
        if len(set(seeds)) < len(seeds):
            raise ParamsError(f"{where}: {key} = {seeds} holds a seed twice")
    for key, (instrument, seeds) in own.items():
        if instrument in params.instruments and not set(seeds) <= set(params.seeds):
            raise ParamsError(
                f"{where}: {key} = {seeds}: allowed are those in seeds {params.seeds}"
            )
    if "none" not in params.arms or params.arms["none"].method != "none":
        raise ParamsError(
            f"{where}: arms = {', '.join(params.arms)}: there must be `none: {{method: none}}`, "
            "the untouched base that every other arm is compared with"
        )
    for said in disagreements(params):
        raise ParamsError(f"{where}: {said}")
    return params


def load(path: Path | str = ROOT) -> Params:
    """The whole of an effective params file, checked. Raises ParamsError with one sentence."""
    return check(read_yaml(Path(path)), path)


@dataclass(frozen=True)
class Run:
    """Which run of a stage this is; None where a level does not apply.

    `threads`: CPU threads to use. `checkpoints`: a private folder for resumable state; it belongs
    to exactly these parameters, inputs and code, and is removed once the stage has finished.
    """

    study: str
    stage: str
    base: str | None = None
    arm: str | None = None
    seed: int | None = None
    threads: int = 1
    checkpoints: Path | None = None


class Declared:
    """Holds what a stage declares; anything else raises AttributeError with the way out."""

    def __init__(self, stage: str, place: str, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        self._stage, self._place = stage, place

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"stage {self._stage} reads {self._place}{name}, which its rule does not declare: "
            f"add it to `reads(...)` in workflow/rules, then run `python -m steps dvc --fix`"
        )

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def view(params: Params, keys: list[str], run: Run) -> Any:
    """What a stage may read: `params.<section>` for each declared section, and `params.run`.

    A key is a section (`vqa`), one key of it (`diff.layers`) or an entry (`arms.sft`,
    `bases.bundled`). A method's section has the run's arm's overrides in it.
    Raises ParamsError for a key that does not exist.
    """
    values: dict[str, Any] = {}
    partial: dict[str, dict[str, Any]] = {}
    for key in keys:
        section, _, entry = key.partition(".")
        whole = _section(params, section, run)
        if not entry:
            values[section] = whole
        elif isinstance(whole, dict) and entry in whole:
            partial.setdefault(section, {})[entry] = whole[entry]
        elif not isinstance(whole, dict) and hasattr(whole, entry):
            partial.setdefault(section, {})[entry] = getattr(whole, entry)
        else:
            raise ParamsError(f"stage {run.stage} declares {key}: {section} has no {entry!r}")
    for section, entries in partial.items():
        values.setdefault(section, Declared(run.stage, f"params.{section}.", entries))
    return Declared(run.stage, "params.", values | {"run": run})


def _section(params: Params, section: str, run: Run) -> Any:
    if section not in Params.model_fields:
        names = ", ".join(Params.model_fields)
        raise ParamsError(f"stage {run.stage} declares {section}: sections are {names}")
    if run.arm is not None and run.arm not in params.arms:
        raise ParamsError(f"arm {run.arm!r}: params have {', '.join(params.arms)}")
    if run.arm is not None and params.arms[run.arm].method == section:
        return params.arm_section(run.arm)
    return getattr(params, section)


def values(params: Params, keys: list[str]) -> dict[str, Any]:
    """The plain values at `keys` (as in `view`, without an arm's overrides merged), for records."""
    plain = params.model_dump()
    found = {}
    for key in keys:
        node = plain
        for part in key.split("."):
            node = node[part]
        found[key] = node
    return found
