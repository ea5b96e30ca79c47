"""An arm whose weights come from elsewhere: planned, run, and run again once they changed."""

import re

import pytest

from tests import toy


def arm(house, path):
    toy.edit(
        house / "params.yaml", r"^(  sft: .*)$", rf"\1\n  mine: {{method: checkpoint, {path}}}"
    )


@pytest.mark.slow
def test_it_is_planned_and_a_changed_file_plans_it_anew(house, snakemake_plans):
    (house / "runs/mine").mkdir(parents=True)
    file = house / "runs/mine/model.safetensors"
    file.write_text("weights")
    arm(house, "path: runs/mine")
    planned, _ = snakemake_plans(house)
    assert planned["checkpoint"] == 1 and planned["report"] == 1
    done = toy.call(house, "steps", "dvc", "--fix")
    assert done.returncode == 0, done.stderr
    stages = re.findall(r"(?m)^  (\w+):$", (house / "dvc.yaml").read_text())
    assert "checkpoint" in stages
    target = "results/embedded/model/bundled/mine/seed0"
    done = toy.call(house, "snakemake", "--cores", "1", "--quiet", "--", target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert snakemake_plans(house, target) == ({}, set())
    file.write_text("WEIGHTS")
    planned, _ = snakemake_plans(house, target)
    assert set(planned) == {"checkpoint"}


def test_a_path_that_is_nothing_is_one_sentence(house):
    arm(house, "path: runs/a/mine")
    done = toy.call(house, "steps", "check")
    assert done.returncode == 2
    assert "arms.mine.path = 'runs/a/mine': there is no folder runs/a/mine" in done.stderr
