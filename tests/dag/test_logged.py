"""Benchmarks in both engines: planned where params name them, again where a file changed."""

import json
import re

import pytest
import yaml

from tests import toy

ENTRY = 'pope: {path: "evals/{arm}/seed{seed}/*_samples_pope.jsonl", score: yes_no}'
ARMS = ("none", "continue", "sft", "dpo", "grpo", "sighted")
TARGET = "results/embedded/logged/bundled/sft/seed0"


def name(house, *entries):
    text = "benchmarks:\n" + "".join(f"  {entry}\n" for entry in entries)
    toy.edit(house / "params.yaml", r"^benchmarks: \{\}\n", text)


def fill(house, arms=ARMS):
    for arm in arms:
        folder = house / "evals" / arm / "seed0"
        folder.mkdir(parents=True)
        (folder / "0101_samples_pope.jsonl").write_text(f"{arm}\n")


def noted(house, arm):
    return house / f"results/embedded/evals/bundled/{arm}/seed0.json"


def change(house):
    (house / "evals/sft/seed0/0101_samples_pope.jsonl").write_text("other answers\n")


def check(house):
    done = toy.call(house, "steps", "check")
    return done.returncode, done.stderr


def test_without_entries_there_is_no_such_stage(house):
    stages = yaml.safe_load((house / "dvc.yaml").read_text())["stages"]
    assert "logged" not in stages and "forget" in stages
    assert check(house)[0] == 0 and not (house / "results/embedded/evals").exists()


@pytest.mark.slow
def test_snakemake_plans_it_and_a_changed_file_plans_it_anew(house, snakemake_plans):
    fill(house)
    name(house, ENTRY)
    planned, _ = snakemake_plans(house)
    assert planned["logged"] == len(ARMS) and planned["report"] == 1
    done = toy.call(house, "snakemake", "--cores", "1", "--quiet", "--", TARGET)
    assert done.returncode == 0, done.stdout + done.stderr
    assert snakemake_plans(house, TARGET) == ({}, set())
    change(house)
    planned, _ = snakemake_plans(house, TARGET)
    assert planned == {"logged": 1}


@pytest.mark.slow
def test_dvc_runs_it_anew_by_the_same_command_once_a_file_changed(house):
    """What `check` writes down is its output, so that it comes before what depends on it."""
    fill(house)
    name(house, ENTRY)
    done = toy.call(house, "steps", "dvc", "--fix")
    assert done.returncode == 0, done.stderr
    stages = yaml.safe_load((house / "dvc.yaml").read_text())["stages"]
    assert any("/evals'" in str(out) for out in stages["check"]["outs"])
    assert stages["logged"]["params"] == ["benchmarks"]
    for changed, runs in ((False, True), (False, False), (True, True)):
        if changed:
            change(house)
        done = toy.call(house, "dvc", "repro", "logged@bundled-sft-0")
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("Running stage 'logged@bundled-sft-0'" in done.stdout) == runs


def test_what_each_arm_takes_is_written_down(house):
    """Also that of arms which are gone is taken away."""
    fill(house)
    name(house, ENTRY)
    stale = noted(house, "gone")
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    done = toy.call(house, "steps", "study", "embedded")
    assert done.returncode == 0, done.stderr
    told = {arm: json.loads(noted(house, arm).read_text())["pope"] for arm in ARMS}
    assert told["sft"]["path"] == "evals/sft/seed0/0101_samples_pope.jsonl"
    assert len({one["sha256"] for one in told.values()}) == len(ARMS)
    assert not stale.exists()


def test_a_file_that_may_be_absent_is_noted_as_that(house):
    fill(house, ARMS[:1])
    name(house, ENTRY.replace("yes_no}", "yes_no, required: false}"))
    assert toy.call(house, "steps", "study", "embedded").returncode == 0
    assert json.loads(noted(house, "sft").read_text()) == {"pope": None}
    assert json.loads(noted(house, "none").read_text())["pope"]["path"].startswith("evals/none")


def test_what_is_wrong_with_the_files_stops_both_engines(house):
    fill(house, ARMS[1:])
    name(house, ENTRY)
    for command in (["steps", "check"], ["snakemake", "--dry-run"]):
        done = toy.call(house, *command)
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode != 0
        assert re.search(
            r"benchmarks\.pope\.path: there is no evals/none/seed0/\*_samples_pope\.jsonl "
            r"\(arm none, seed 0\): run lmms-eval on this model",
            said,
        ), said
