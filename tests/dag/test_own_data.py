"""A study of one's own data: what lies outside is noted for both engines, or told in a sentence."""

import json

import yaml

from tests import toy

STUDY = "own_data"
NOTED = f"results/{STUDY}/data.json"


def fill(house):
    (house / "data/images").mkdir(parents=True)
    (house / "data/images/a.png").write_bytes(b"a")
    (house / "data/questions.json").write_text("[]")


def test_both_engines_depend_on_what_the_data_is(house):
    fill(house)
    done = toy.call(house, "steps", "study", STUDY)
    assert done.returncode == 0, done.stderr
    told = json.loads((house / NOTED).read_text())
    assert list(told["data"]) == ["questions.json"] and told["images"]["files"] == 1
    stages = yaml.safe_load((house / f"workflow/studies/{STUDY}/dvc.yaml").read_text())["stages"]
    outs = [name for out in stages["check"]["outs"] for name in out]
    assert f"--input data={NOTED}" in stages["items"]["cmd"].replace("${study.name}", STUDY)
    assert any(name.endswith("/data.json") for name in outs)
    done = toy.call(house, "snakemake", "--dry-run", "--printshellcmds",
                    f"results/{STUDY}/items/seed0", SIGHTLINE_STUDY=STUDY)  # fmt: skip
    said = done.stdout + done.stderr
    assert f"--keys world,items,data --seed 0 --input data={NOTED}" in said, said

    (house / "data/questions.json").write_text("[{}]")
    assert toy.call(house, "steps", "study", STUDY).returncode == 0
    other = json.loads((house / NOTED).read_text())
    assert other["data"] != told["data"] and other["images"] == told["images"]


def test_the_default_study_has_no_such_input(house):
    stages = yaml.safe_load((house / "dvc.yaml").read_text())["stages"]
    assert "--input" not in stages["items"]["cmd"]
    assert not list((house / "results").glob("*/data.json"))


def test_data_that_is_not_there_stops_both_engines(house):
    for command in (["steps", "study", STUDY], ["snakemake", "--dry-run"]):
        done = toy.call(house, *command, SIGHTLINE_STUDY=STUDY)
        assert done.returncode != 0
        assert "data.path = 'data/questions.json': there is no such file or folder" in (
            done.stdout + done.stderr
        )
