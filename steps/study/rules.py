"""The workflow's rules, read through Snakemake's own API: the one declaration of every stage."""

import logging
import re
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from steps.study.plan import LEVELS, Plan, one_of

SNAKEFILE = Path("workflow/Snakefile")
LOG_TAIL = " > {log} 2>&1"


@dataclass(frozen=True)
class Rule:
    """One stage as its rule declares it. In texts `{base}`, `{arm}` and `{seed}` stand for values.

    command: without the redirection into a log. inputs: name on the command line and path.
    code: the file that says which code it is. reads: keys of params.yaml. wildcards: the values of
    each level. seeds: the list in params.yaml that its seeds come from (`seeds`, `diff.seeds`).
    few: for which arms of a stage it is: those of so many first seeds; 0 for those of all seeds.
    """

    name: str
    command: str
    inputs: dict[str, str]
    code: str
    out: str
    reads: list[str]
    wildcards: dict[str, list[str]]
    seeds: str
    few: int = 0

    @property
    def key(self) -> str:
        """What DVC calls it."""
        return f"{self.name}_first{self.few}" if self.few else self.name

    def instances(self) -> list[dict[str, str]]:
        """Every combination of the wildcards' values, in DVC's order."""
        return [
            dict(zip(self.wildcards, row, strict=True)) for row in product(*self.wildcards.values())
        ]


def rules(plan: Plan) -> list[Rule]:
    """The rules of a plan's workflow that make something, in the order of the files.

    Raises ValueError where a rule cannot be said to both engines alike.
    """
    found = [_rule(rule, plan) for rule in _workflow(plan).rules if rule.shellcmd]
    parts = [part for rule in found for part in _parts(rule, plan)]
    return _wanted([rule for rule in parts if all(rule.wildcards.values())])


def _wanted(rules: list[Rule]) -> list[Rule]:
    """Those of the rules that the report rests on."""
    wanted = {rule.name: rule.name == "report" for rule in rules}
    paths = [path for rule in rules if wanted[rule.name] for path in rule.inputs.values()]
    while paths:
        path = paths.pop()
        for rule in rules:
            if not wanted[rule.name] and f"{rule.out}/".startswith(f"{path}/"):
                wanted[rule.name] = True
                paths += [p for r in rules if r.name == rule.name for p in r.inputs.values()]
    return [rule for rule in rules if wanted[rule.name]]


def _parts(rule: Rule, plan: Plan) -> list[Rule]:
    """A rule for arms of all seeds, and the same for arms of the first few."""
    if not {"arm", "seed"} <= set(rule.wildcards):
        return [rule]
    arms: dict[int, list[str]] = {0: []}
    for arm in rule.wildcards["arm"]:
        few = plan.params.arms[arm].seeds
        arms.setdefault(0 if few == "all" else few, []).append(arm)
    parts = []
    for few, some in arms.items():
        first = {str(seed) for seed in plan.params.seeds[: few or None]}
        seeds = [seed for seed in rule.wildcards["seed"] if seed in first]
        parts.append(
            replace(rule, wildcards=rule.wildcards | {"arm": some, "seed": seeds}, few=few)
        )
    return parts


def _workflow(plan: Plan) -> Any:
    """Snakemake's Workflow with the rules of a plan's study in it; nothing is run or written."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

    logging.getLogger("snakemake").setLevel(logging.WARNING)
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, show_failed_logs=False)) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(
                config={"study": plan.params.study.name, "ahead": plan.ahead}
            ),
            snakefile=SNAKEFILE,
        )
        return workflow._workflow


def _rule(rule: Any, plan: Plan) -> Rule:
    paths = {name: rule.input.get(name) for name in rule.input.keys()}
    paths = {k: [str(p) for p in ([v] if isinstance(v, str) else v)] for k, v in paths.items()}
    [code] = paths.pop("code")
    constraints = plan_wide(plan) | rule.wildcard_constraints
    levels = [level for level in LEVELS if level in rule.wildcard_names]
    reads = [key for key in rule.params.reads.split(",") if key]
    out = re.sub(r"{(\w+),[^}]*}", r"{\1}", str(rule.output[0]))
    command = rule.shellcmd
    if not command.endswith(LOG_TAIL):
        raise ValueError(f"rule {rule.name}: its command must end with '{LOG_TAIL}'")
    command = command.removesuffix(LOG_TAIL).format(
        PARAMS=plan.path,
        RESULTS=plan.results,
        wildcards=SimpleNamespace(**{level: f"{{{level}}}" for level in LEVELS}),
        input=SimpleNamespace(**{name: each[0] for name, each in paths.items() if each}),
        output=out,
        params=rule.params,
    )
    inputs = dict(re.findall(r"--input (\w+)=(\S+)", command))
    for path in (p for each in paths.values() for p in each):
        if not any(path == i or path.startswith(f"{i}/") for i in inputs.values()):
            raise ValueError(f"rule {rule.name}: its input {path} is not on its command line")
    return Rule(
        name=rule.name,
        command=command,
        inputs=inputs,
        code=code,
        out=out,
        reads=reads,
        wildcards={level: _alternatives(constraints[level]) for level in levels},
        seeds=_seeds(reads, plan) if "seed" in rule.wildcard_constraints else "seeds",
    )


def plan_wide(plan: Plan) -> dict[str, str]:
    """The wildcard constraints that hold for every rule of a plan."""
    params = plan.params
    return {
        "base": one_of(params.bases),
        "arm": one_of(params.arms),
        "seed": one_of(params.seeds),
    }


def _alternatives(constraint: str) -> list[str]:
    """The names that `one_of` made a wildcard's constraint from."""
    return [] if constraint == one_of([]) else constraint.split("|")


def _seeds(reads: list[str], plan: Plan) -> str:
    """The list of seeds of a rule that has its own: `seeds` in the first section that has one.

    Without such a section it is a rule of model diffing, whose stages share those of `diff`.
    """
    sections = [key.split(".")[0] for key in reads]
    own = (s for s in sections if hasattr(getattr(plan.params, s), "seeds"))
    return f"{next(own, 'diff')}.seeds"
