"""dvc.yaml says what the Snakemake rules say."""

import re
from pathlib import Path

import pytest
import yaml

from steps.stage import STAGES
from tests import toy

ROOT = Path(__file__).parents[2]


def test_committed_dvc_files_are_in_step():
    done = toy.call(ROOT, "steps", "dvc", "--check")
    assert done.returncode == 0, f"run `make dvc-fix`\n{done.stdout}{done.stderr}"
    assert "in step" in done.stdout


def test_drift_is_said_and_fixed(house):
    toy.edit(house / "workflow/rules/behaviour.smk", r'reads\("vqa"\)', 'reads("vqa", "world")')
    done = toy.call(house, "steps", "dvc", "--check")
    assert done.returncode == 1 and "make dvc-fix" in done.stderr
    assert re.search(r"(?m)^\+ +params: \[vqa, world\]$", done.stdout)
    assert toy.call(house, "steps", "dvc", "--fix").returncode == 0
    assert toy.call(house, "steps", "dvc", "--check").returncode == 0
    stage = yaml.safe_load((house / "dvc.yaml").read_text())["stages"]["vqa"]
    assert stage["params"] == ["vqa", "world"] and "--keys vqa,world" in stage["cmd"]


def test_an_input_that_is_not_on_the_command_line_is_refused(house):
    toy.edit(house / "workflow/rules/encoder.smk", r" --input extract=\{input\.extract\}", "")
    done = toy.call(house, "steps", "dvc", "--check")
    assert done.returncode != 0
    assert "rule features: its input" in done.stderr and "not on its command line" in done.stderr


def test_both_engines_have_the_same_jobs(house):
    """Folder by folder and command by command, as each engine itself says."""
    done = toy.call(house, "snakemake", "--dry-run", "--printshellcmds", "--forceall")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    snakes = {
        " ".join(line.split(" > ")[0].split())
        for line in re.findall(r"(?m)^\s*(?:Shell command: )?(python -m steps .*)$", said)
    }
    code = (
        "from dvc.repo import Repo\n"
        "for s in Repo().index.stages:\n"
        "    print(' '.join(s.cmd.split()), *(str(o) for o in s.outs), sep='\\t')\n"
    )
    done = toy.call(house, "python", "-c", code)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in f"{done.stdout}".splitlines() if "\t" in line]
    theirs = {command: outs for command, *outs in lines}
    told = ["results/embedded/code", "results/embedded/photos.json"]
    assert theirs.pop("python -m steps check") == told
    assert snakes == set(theirs) and len(snakes) > 30
    for command, outs in theirs.items():
        assert f"--out {outs[0]}" in command and len(outs) == 1


def test_every_stage_bears_one_name():
    """A rule calls the stage of its own name, and its code input begins with that module."""
    rules = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        parts = re.split(r"(?m)^rule (\w+):$", path.read_text())[1:]
        named = zip(parts[::2], parts[1::2], strict=True)
        rules |= {name: text for name, text in named if "shell:" in text}
    assert set(rules) == set(STAGES)
    for name, text in rules.items():
        assert f'"python -m steps {name} --params {{PARAMS}}' in text
        assert f'code=code("{name}")' in text
        for part in ("log:", "benchmark:", "message:", "mem_mb=", "runtime=", '"""'):
            assert part in text, f"rule {name} has no {part}"


def test_a_rule_that_is_not_of_this_study_is_left_out(house):
    stages = yaml.safe_load((house / "dvc.yaml").read_text())["stages"]
    assert "tower" not in stages and "hub" not in stages and "base" in stages


def test_seeds_are_looked_up_where_the_user_writes_them(house):
    stages = yaml.safe_load((house / "dvc.yaml").read_text())["stages"]
    assert stages["vqa"]["matrix"]["seed"] == "${seeds}"
    assert stages["harvest"]["matrix"]["seed"] == "${diff.seeds}"
    toy.edit(house / "params.yaml", r"^seeds: .*$", "seeds: [0, 5]")
    assert toy.call(house, "steps", "dvc", "--check").returncode == 0
    done = toy.call(house, "dvc", "stage", "list", "--name-only")
    assert "vqa@bundled-sft-5" in done.stdout.split()
    assert "harvest@bundled-5" not in done.stdout.split()


def test_an_overlay_has_a_dvc_file_of_its_own(house):
    (house / "workflow/studies/mine.yaml").write_text(
        "seeds: [4]\ndiff: {seeds: [4]}\ngaze: {seeds: [4]}\n"
    )
    done = toy.call(house, "steps", "study", "mine")
    assert done.returncode == 0 and done.stdout == "workflow/studies/mine/params.yaml\n"
    done = toy.call(house, "dvc", "stage", "list", "workflow/studies/mine/dvc.yaml", "--name-only")
    names = [name.rpartition(":")[2] for name in done.stdout.split()]
    assert "vqa@bundled-sft-4" in names and "vqa@bundled-sft-0" not in names
    text = (house / "workflow/studies/mine/dvc.yaml").read_text()
    assert "--params workflow/studies/mine/params.yaml" in text
    done = toy.call(house, "steps", "study", "spam")
    assert done.returncode == 2 and "there is no workflow/studies/spam.yaml" in done.stderr


def test_wrong_params_stop_both_engines_before_anything_runs(house):
    toy.edit(house / "params.yaml", r"^  title: .*$", "  spam: 1")
    for command in (["snakemake", "--cores", "1"], ["dvc", "repro"]):
        done = toy.call(house, *command)
        assert done.returncode != 0
        assert "params.yaml: study." in done.stdout + done.stderr
    assert not list((house / "results").rglob("manifest.json"))


def test_an_overlay_follows_params_yaml_under_dvc_without_being_told(house):
    target = "workflow/studies/smoke/dvc.yaml:items@0"
    assert toy.call(house, "steps", "study", "smoke").returncode == 0
    assert toy.call(house, "dvc", "repro", target).returncode == 0
    before = (house / "results/smoke/items/seed0/told.json").read_text()
    assert "didn't change, skipping" in toy.call(house, "dvc", "repro", target).stdout
    toy.edit(house / "params.yaml", r"^  repeat: 0\.3$", "  repeat: 0.5")
    done = toy.call(house, "dvc", "repro", target)
    assert done.returncode == 0, done.stderr
    after = (house / "results/smoke/items/seed0/told.json").read_text()
    assert "repeat=0.3" in before and "repeat=0.5" in after


GRPO = r"^  grpo: \{method: grpo\}$"
BASE = r"^  bundled: \{source: bundled\}$"


@pytest.mark.parametrize(
    ("pattern", "new", "said"),
    [
        (
            GRPO,
            "  grpo: {method: grpo}\n  hot: {method: sft}",
            "arms = none, .*, hot, sighted: dvc.yaml has",
        ),
        (
            GRPO,
            "  hot: {method: sft}",
            "arms = none, .*, hot, sighted: dvc.yaml has others for stage",
        ),
        (GRPO, "  grpo: {method: sft}", "arms = .*: dvc.yaml has others for stage (sft|grpo)"),
        (BASE, "  bundled: {source: train}", "bases = bundled: dvc.yaml has others for stage"),
        (BASE, "  bundled: {source: bundled}\n  new: {source: train}", "bases = bundled, new: "),
        (r"^instruments: \[vqa, ", "instruments: [", "instruments = .*: dvc.yaml has others"),
    ],
)
def test_dvc_stops_where_its_file_is_not_what_the_params_say(house, pattern, new, said):
    toy.edit(house / "params.yaml", pattern, new)
    done = toy.call(house, "dvc", "repro", "check")
    assert done.returncode != 0
    assert re.search(rf"sightline: params.yaml: {said}.*: run make dvc-fix\n", done.stderr)
    assert toy.call(house, "steps", "dvc", "--fix").returncode == 0
    done = toy.call(house, "dvc", "repro", "check")
    assert done.returncode == 0, done.stderr


def test_an_added_instrument_is_not_left_out_in_silence(house):
    toy.edit(house / "params.yaml", r"^instruments: \[vqa, ", "instruments: [")
    assert toy.call(house, "steps", "dvc", "--fix").returncode == 0
    toy.edit(house / "params.yaml", r"^instruments: \[", "instruments: [vqa, ")
    done = toy.call(house, "dvc", "repro")
    assert done.returncode != 0 and "instruments = vqa, " in done.stderr


def test_an_added_arm_is_not_left_out_in_silence(house):
    toy.edit(house / "params.yaml", GRPO, "  grpo: {method: grpo}\n  hot: {method: sft}")
    done = toy.call(house, "dvc", "repro")
    assert done.returncode != 0 and "run make dvc-fix" in done.stderr
    assert not list((house / "results/embedded").rglob("manifest.json"))


def test_what_the_params_take_for_granted_is_checked_first_under_dvc_too(house):
    toy.edit(house / "params.yaml", r"^  canvas: 64", "  canvas: 96")
    done = toy.call(house, "dvc", "repro")
    assert done.returncode != 0 and "base bundled was made for 64" in done.stderr
    assert not list((house / "results/embedded").rglob("manifest.json"))


def test_an_overlays_file_is_held_to_its_own_arms(house):
    target = "workflow/studies/smoke/dvc.yaml:check"
    assert toy.call(house, "steps", "study", "smoke").returncode == 0
    assert toy.call(house, "dvc", "repro", target).returncode == 0
    toy.edit(house / "params.yaml", GRPO, "  grpo: {method: grpo}\n  hot: {method: sft}")
    done = toy.call(house, "dvc", "repro", target)
    assert done.returncode != 0
    assert "smoke/params.yaml: arms = " in done.stderr and "run make dvc-fix" in done.stderr


def test_arms_of_the_first_seeds_are_measured_where_all_are(house):
    """Two seeds of an arm, on one of which alone `gaze` looks: both engines look there alone."""
    toy.edit(
        house / "params.yaml",
        r"^  sighted: {method: sft, seeds: 1",
        "  sighted: {method: sft, seeds: 2",
    )
    toy.edit(house / "params.yaml", r"^seeds: .*$", "seeds: [0, 5]")
    assert toy.call(house, "steps", "dvc", "--fix").returncode == 0
    stages = yaml.safe_load((house / "dvc.yaml").read_text())["stages"]
    assert stages["vqa_first2"]["matrix"]["seed"] == ["${seeds[0]}", "${seeds[1]}"]
    assert stages["gaze_first2"]["matrix"]["seed"] == ["${seeds[0]}"]


def test_arms_of_the_first_seed_have_stages_of_their_own(house):
    stages = yaml.safe_load((house / "dvc.yaml").read_text())["stages"]
    few = ["sighted"]
    assert stages["vqa_first1"]["matrix"] == {
        "base": ["bundled"],
        "arm": few,
        "seed": ["${seeds[0]}"],
    }
    assert not set(few) & set(stages["vqa"]["matrix"]["arm"])
    assert stages["vqa_first1"]["cmd"] == stages["vqa"]["cmd"]
    toy.edit(house / "params.yaml", r"^seeds: .*$", "seeds: [0, 5]")
    done = toy.call(house, "dvc", "stage", "list", "--name-only")
    assert "vqa_first1@bundled-sighted-0" in done.stdout.split()
    done = toy.call(house, "snakemake", "--dry-run")
    assert done.returncode == 0 and "arm sighted, seed 0" in done.stdout
    assert "arm sighted, seed 5" not in done.stdout


def test_an_instrument_that_is_not_wanted_has_no_stages(house):
    toy.edit(house / "params.yaml", r"^instruments: .*$", "instruments: [vqa]")
    assert toy.call(house, "steps", "dvc", "--fix").returncode == 0
    stages = yaml.safe_load((house / "dvc.yaml").read_text())["stages"]
    gone = {"classify", "segment", "features", "extract", "baselines", "probes", "compare", "gaze"}
    assert not gone & {name.removesuffix("_first") for name in stages}
    assert {"vqa", "sft", "pairs", "items", "report"} <= set(stages)
    done = toy.call(house, "snakemake", "--dry-run")
    assert done.returncode == 0
    assert not any(f"rule {name}:" in done.stdout for name in gone)
