"""What the Slurm profile says agrees with the rules and with the profile of one machine."""

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace

import yaml
from snakemake.resources import Resource, Resources

from steps.study import slurm

WORKFLOW = Path(__file__).parents[2] / "workflow"
PROFILE = yaml.safe_load((WORKFLOW / "profiles/slurm/config.yaml").read_text())


def asked():
    """The minutes that each rule asks for."""
    text = "".join(path.read_text() for path in sorted(WORKFLOW.glob("rules/*.smk")))
    parts = re.split(r"(?m)^rule (\w+):", text)[1:]
    found = zip(parts[::2], map(re.compile(r"runtime=(\d+)").search, parts[1::2]), strict=True)
    return {name: int(match[1]) for name, match in found if match}


def test_what_is_grouped_is_small():
    minutes = asked()
    assert len(minutes) > 30
    alone = {rule: group for rule, group in PROFILE["groups"].items() if group == "start"}
    assert set(PROFILE["groups"]) <= set(minutes)
    assert {rule: minutes[rule] for rule in alone if minutes[rule] > 15} == {}
    assert set(PROFILE["group-components"]) <= set(PROFILE["groups"].values())


def test_it_keeps_what_one_machine_is_told():
    default = yaml.safe_load((WORKFLOW / "profiles/default/config.yaml").read_text())
    assert {key: PROFILE.get(key) for key in default} == default


def test_a_new_attempt_has_more_and_an_expression_stays():
    told = {"mem_mb": 3000, "runtime": 20, "gpu": 1}
    mine = Resource.from_cli_expression("mem_mb", "100 + attempt")
    rules = [SimpleNamespace(resources=Resources.from_mapping(told)) for _ in range(2)]
    rules[1].resources["mem_mb"] = mine
    slurm.grow(rules)
    for attempt in (1, 2, 3):
        found = {
            name: rules[0].resources[name].evaluate(SimpleNamespace(), attempt=attempt).value
            for name in ("mem_mb", "runtime")
        }
        assert found == {"mem_mb": 3000 * attempt, "runtime": 20 * attempt}
    assert rules[0].resources["gpu"].value == 1
    assert rules[1].resources["mem_mb"] is mine


def test_the_pause_between_looks_stays_as_it_is_and_a_folder_of_ones_own_too(tmp_path):
    settings = SimpleNamespace(init_seconds_before_status_checks=0.01, logdir=None)
    executor = SimpleNamespace(
        workflow=SimpleNamespace(executor_settings=settings),
        next_seconds_between_status_checks=180,
        slurm_logdir=Path("elsewhere"),
    )
    slurm.attend(executor, tmp_path)
    asyncio.run(asyncio.wait_for(executor.sleep(), 10))
    assert executor.slurm_logdir == tmp_path
    settings.logdir, executor.slurm_logdir = Path("mine"), Path("mine")
    slurm.attend(executor, tmp_path)
    assert executor.slurm_logdir == Path("mine")
