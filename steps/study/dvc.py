"""dvc.yaml, written from the workflow's rules: the same commands on the same files.

A study's seeds are looked up in its params file by DVC itself, so that one more seed there is one
more seed under DVC; another arm, base or rule asks for `python -m steps dvc --fix`.
"""

import difflib
import re
from pathlib import Path
from typing import Any, get_args

import yaml

from steps.params import ROOT, STUDIES
from steps.schema import METHODS, Instrument
from steps.study.collect import LOCAL_STAGES
from steps.study.overlay import chain
from steps.study.plan import Plan, write
from steps.study.rules import Rule

HEADER = """\
# Written from workflow/rules by `python -m steps dvc --fix`: edit those.
# `dvc repro{target}` runs it.
"""
CHECK = "check"
"""The one stage that is DVC's alone: Snakemake checks params.yaml whenever it reads its rules."""


SOURCES = {"base": "bundled", "hub": "hub", "trained": "train"}
"""Stages that put a base in place, and the source that each is for."""


class _Flow(list[Any]):
    """A list that is written on one line."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Flow, lambda d, v: d.represent_sequence("tag:yaml.org,2002:seq", v, flow_style=True)
)


def path(plan: Plan) -> Path:
    """Where a plan's dvc.yaml lies: beside its params file."""
    return plan.path.with_name("dvc.yaml")


def render(plan: Plan, rules: list[Rule]) -> str:
    """A plan's dvc.yaml."""
    overlay = plan.path != ROOT
    wdir = {"wdir": Path(*[".."] * len(STUDIES.parts), "..").as_posix()} if overlay else {}
    study = f" {plan.params.study.name}" if overlay else ""
    check: dict[str, Any] = {"cmd": f"python -m steps {CHECK}{study}", **wdir}
    check["deps"] = [ROOT.as_posix()]
    written = [plan.sources, plan.photographs, *plan.scenery.values(), *plan.brought.values()]
    written += plan.evaluated.values()
    if overlay:
        check["deps"] += [f"{STUDIES / name}.yaml" for name in chain(plan.params.study.name)]
        written.append(plan.path.as_posix())
    check["outs"] = [{out: {"cache": False, "persist": True}} for out in written]
    check["always_changed"] = True  # it looks at what lies outside: photographs
    stages = {CHECK: check} | {rule.key: _stage(rule, plan, wdir) for rule in rules}
    report = next(rule for rule in rules if rule.name == "report")
    up = f"{wdir['wdir']}/" if overlay else ""
    content = {"stages": stages, "metrics": [f"{up}{report.out}/metrics.json"]}
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=1000)
    text = text.replace(plan.results + "/", "results/${study.name}/")
    target = f" {path(plan)}" if overlay else ""
    return HEADER.format(target=target) + _folded(text)


def _stage(rule: Rule, plan: Plan, wdir: dict[str, str]) -> dict[str, Any]:
    levels = {level: _Flow(values) for level, values in rule.wildcards.items()}
    if "seed" in levels:
        own = enumerate(map(str, plan.params.seeds[: rule.few]))  # of `gaze.seeds`, some alone
        few = _Flow(f"${{seeds[{i}]}}" for i, seed in own if seed in rule.wildcards["seed"])
        told = few or f"${{{rule.seeds}}}"
        levels["seed"] = told  # type: ignore[assignment]
    reads = _Flow(_item(key) for key in rule.reads)
    params = [{plan.path.as_posix(): reads}] if wdir else reads
    return {
        **({"matrix": levels} if levels else {}),
        "cmd": _item(rule.command),
        **wdir,
        **({"params": params} if reads else {}),
        "deps": [*map(_item, rule.inputs.values()), rule.code],
        "outs": [_item(rule.out)],
    }


def _item(text: str) -> str:
    """`{base}` as DVC's matrix says it."""
    return re.sub(r"{(\w+)}", r"${item.\1}", text)


def _folded(text: str) -> str:
    """Commands over several lines, for people; DVC reads them as one."""

    def fold(found: re.Match[str]) -> str:
        margin = "\n      "
        return f"    cmd: >-{margin}" + found[1].replace(" --", f"{margin}--")

    return re.sub(r"(?m)^    cmd: (.*)$", fold, text)


def stale(plan: Plan) -> str:
    """Which arms, bases or instruments dvc.yaml has otherwise than a plan's params; empty if none.

    Not the whole of `drift`, which asks Snakemake, but what an edit of params.yaml can bring about,
    soon enough for every `dvc repro`. A plan without a dvc.yaml has nothing to run otherwise.
    """
    file = path(plan)
    if not file.is_file():
        return ""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stages = yaml.load(file.read_text(), loader)["stages"]  # noqa: S506 (a SafeLoader)
    own = {("arm", method): plan.arms(method) for method in METHODS}
    own |= {("base", stage): plan.bases(source) for stage, source in SOURCES.items()}
    told = {"arm": list(plan.params.arms), "base": list(plan.params.bases)}
    for level, wanted in told.items():
        have = {name: s.get("matrix", {}).get(level, []) for name, s in stages.items()}
        for name in {stage for kind, stage in own if kind == level}:
            of = [arms for key, arms in have.items() if _stage_of(key) == name]
            if set().union(*of) != set(own[level, name]):
                return f"{level}s = {', '.join(wanted)}: {file} has others for stage {name}"
        if set().union(*have.values()) - set(wanted):
            return f"{level}s = {', '.join(wanted)}: {file} has more"
    listed = plan.params.instruments
    has = set(map(_stage_of, stages)) & set(get_args(Instrument))
    idle = set() if plan.trained() else {"turned"}
    if not any(base.diffed for base in plan.params.bases.values()):
        idle |= set(LOCAL_STAGES)
    if has - set(listed) or set(listed) - has - idle:
        return f"instruments = {', '.join(listed)}: {file} has others"
    return ""


def _stage_of(key: str) -> str:
    """The workflow's stage that one of dvc.yaml is, for all seeds or the first few."""
    return re.sub(r"_first\d+$", "", key)


def drift(plan: Plan, rules: list[Rule], fix: bool) -> str:
    """What differs between a plan's dvc.yaml and its rules, as a diff; empty if nothing does.

    With `fix` the file is written anew.
    """
    file, wanted = path(plan), render(plan, rules)
    have = file.read_text() if file.is_file() else ""
    if fix:
        write(file, wanted)
    lines = difflib.unified_diff(
        have.splitlines(), wanted.splitlines(), str(file), "workflow/rules", n=1, lineterm=""
    )
    return "\n".join(lines)
