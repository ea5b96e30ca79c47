"""What each kind of base has made of it: model diffing only where there is a model before it."""

import re

import pytest

from tests import toy

DIFFING = ("harvest", "dictionary", "compare", "planted")
MINE = "mine: {source: hub, path: somewhere}"


def bases(house, text):
    toy.edit(house / "params.yaml", r"^  bundled: \{source: bundled\}$", text)


@pytest.mark.parametrize("both", [True, False])
def test_a_base_from_the_hub_is_not_diffed(house, snakemake_plans, both):
    bases(house, f"  bundled: {{source: bundled}}\n  {MINE}" if both else f"  {MINE}")
    planned, _ = snakemake_plans(house)
    assert planned["hub"] == planned["report"] == 1
    assert [planned.get(stage, 0) for stage in DIFFING] == [int(both)] * 4
    assert planned["vqa"] == planned["segment"] == (12 if both else 6)
    done = toy.call(house, "steps", "dvc", "--fix")
    assert done.returncode == 0, done.stderr
    told = (house / "dvc.yaml").read_text()
    stages = re.findall(r"(?m)^  (\w+):$", told)
    assert [stage in stages for stage in DIFFING] == [both] * 4
    assert ("--input compare=" in told) == both


@pytest.mark.slow
def test_a_study_of_nothing_but_a_base_from_the_hub_finishes(house):
    bases(house, f"  {MINE}")
    done = toy.call(house, "snakemake", "--cores", "2", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    results = house / "results/embedded"
    assert (results / "report/manifest.json").is_file() and not (results / "compare").exists()


def test_a_revision_is_for_the_hub_alone(house):
    bases(house, "  bundled: {source: bundled, revision: main}")
    done = toy.call(house, "steps", "check")
    assert done.returncode == 2
    assert "revision 'main': `revision` is for source hub" in done.stderr
