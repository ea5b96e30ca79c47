"""Overlays: what a study says otherwise than params.yaml, or than another study (`study.like`)."""

from typing import Any

from steps.params import STUDIES, ParamsError, read_yaml


def effective(base: dict[str, Any], study: str) -> dict[str, Any]:
    """params.yaml's values with a study's overlays merged in and its name set."""
    merged = base
    for name in reversed(chain(study)):
        merged = merge(merged, read_yaml(STUDIES / f"{name}.yaml"))
    return merge(merged, {"study": {"name": study}})


def chain(study: str) -> list[str]:
    """The study, the one that it is like, and so on. Raises ParamsError where one is wrong."""
    found: list[str] = []
    name: str | None = study
    while name is not None:
        path = STUDIES / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in STUDIES.glob("*.yaml"))) or "none"
            key = f"{STUDIES / found[-1]}.yaml: study.like" if found else "study"
            raise ParamsError(f"{key} = {name!r}: there is no {path}; studies are {known}")
        if name in found:
            raise ParamsError(f"{path}: study.like: {' like '.join([*found, name])} never ends")
        found.append(name)
        told = read_yaml(path).get("study") or {}
        if told.get("name", name) != name:
            raise ParamsError(
                f"{path}: study.name = {told['name']!r}: leave it out, it is the file's name"
            )
        name = told.get("like")
    return found


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """`overlay` over `base`, section by section; lists are replaced, null removes an entry."""
    merged = dict(base)
    for key, value in overlay.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged
