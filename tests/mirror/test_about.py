"""Names and descriptions: the same scheme for every run, and a reader's own words stay."""

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import RestException

from steps import track
from steps.mirror import about
from steps.mirror.sync import sync
from steps.stage import STAGES
from steps.track import log
from tests.mirror.study import begin, client, runs, whole_stage

ABOUT = {
    "title": "Is it so?",
    "arm": {"method": "sft", "overrides": {"learning_rate": 3e-4}, "seeds": [0, 1]},
}


def start(base=None, arm=None, seed=None):
    return {"base": base, "arm": arm, "seed": seed}


@pytest.mark.parametrize(
    ("who", "name"),
    [
        (start("bundled", "sft", 0), "sft · seed 0 · bundled"),
        (start("bundled", None, 3), "all arms · seed 3 · bundled"),
        (start(None, None, 0), "data · seed 0"),
        (start("bundled"), "base · bundled"),
        (start(), "study"),
    ],
)
def test_a_group_has_a_name_and_a_description(who, name):
    assert about.name(who) == name
    assert about.group(who).endswith(about.NESTED)


def test_every_stage_is_told_in_the_words_of_its_rule():
    told = {name: about.stage({"stage": name}) for name in STAGES}
    assert {name for name, text in told.items() if not text} == set()
    assert told["sft"] == "Supervised fine-tuning on reference answers."
    assert about.stage({"stage": "unheard_of"}) == ""


def note(run):
    return run.data.tags.get(about.NOTE)


def test_runs_and_the_study_are_described(root):
    whole_stage(root, about=ABOUT)
    whole_stage(root, "report", base=None, arm=None, seed=None, about={"title": "Is it so?"})
    whole_stage(root, "vqa", seed=1)  # of a time before such logs
    sync(root)
    stages = {run.info.run_name: note(run) for run in runs(root)}
    assert stages["vqa"] == "Ask every question, with and without the image, and score the answers."
    groups = {run.info.run_name: run for run in runs(root, parents=True)}
    own = note(groups["sft · seed 0 · bundled"])
    assert "Arm `sft` on base `bundled`, seed 0 (of 0, 1)." in own
    assert "Method `sft`: supervised fine-tuning on reference answers." in own
    assert "`learning_rate` = 0.0003" in own
    assert note(groups["sft · seed 1 · bundled"]).startswith("Arm `sft` on base `bundled`, seed 1.")
    study = client(root).get_experiment_by_name("study")
    told = study.tags[about.NOTE]
    assert told.startswith("**Is it so?**") and "neither confirm nor refute" in told
    assert f"(#/experiments/{study.experiment_id}/runs/{groups['study'].info.run_id}/" in told
    assert study.tags["mlflow.experimentKind"] == "custom_model_development"


@pytest.mark.parametrize(("code", "again"), [("BAD_REQUEST", True), ("INTERNAL_ERROR", False)])
def test_another_clone_may_describe_the_study_at_the_same_time(root, monkeypatch, code, again):
    """The server refuses the later of two first writes of a tag; other errors are not for us."""
    write, refused = MlflowClient.set_experiment_tag, set()

    def later(self, number, key, value):
        if key not in refused:
            refused.add(key)
            raise RestException({"error_code": code, "message": "UniqueViolation"})
        write(self, number, key, value)

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", later)
    whole_stage(root, about=ABOUT)
    if not again:
        with pytest.raises(RestException):
            sync(root)
        return
    sync(root)
    assert about.NOTE in client(root).get_experiment_by_name("study").tags and len(refused) == 2


def test_a_description_follows_the_study_unless_a_reader_has_written_one(root):
    whole_stage(root, about=ABOUT)
    whole_stage(root, seed=1, about=ABOUT)
    sync(root)
    mlflow = client(root)
    groups = {run.info.run_name: run.info.run_id for run in runs(root, parents=True)}
    mlflow.set_tag(groups["sft · seed 1 · bundled"], about.NOTE, "My words.")
    arm = ABOUT["arm"] | {"overrides": {}}
    for seed in (0, 1):
        whole_stage(root, seed=seed, about={"title": "It is so", "arm": arm})
    sync(root)
    groups = {run.info.run_name: note(run) for run in runs(root, parents=True)}
    assert groups["sft · seed 1 · bundled"] == "My words."
    assert "Its own keys: none" in groups["sft · seed 0 · bundled"]
    study = mlflow.get_experiment_by_name("study")
    assert study.tags[about.NOTE].startswith("**It is so**")
    mlflow.set_experiment_tag(study.experiment_id, about.NOTE, "")  # emptied on purpose
    whole_stage(root, about=ABOUT)
    sync(root)
    assert mlflow.get_experiment_by_name("study").tags[about.NOTE] == ""


def test_a_kill_between_the_two_tags_leaves_the_description_ours():
    tags = {}
    about.describe("one", tags, tags.__setitem__)

    def once(key, value):
        if key == about.NOTE:
            raise SystemExit
        tags[key] = value

    with pytest.raises(SystemExit):
        about.describe("two", tags, once)
    assert tags[about.NOTE] == "one"
    about.describe("two", tags, tags.__setitem__)
    assert tags[about.NOTE] == "two"
    about.describe("x" * 9000, tags, tags.__setitem__)
    assert len(tags[about.NOTE]) == about.LONGEST


def test_samples_arrive_as_system_metrics(root):
    begin(root)
    for step in range(3):
        log.sample({"system/stage_memory_usage_megabytes": 100.0 + step}, step)
    track.finish("finished", {"sft/score": 0.5}, {})
    sync(root)
    [run], [parent] = runs(root), runs(root, parents=True)
    history = client(root).get_metric_history(
        run.info.run_id, "system/stage_memory_usage_megabytes"
    )
    assert [(m.step, m.value) for m in history] == [(0, 100.0), (1, 101.0), (2, 102.0)]
    assert list(parent.data.metrics) == ["sft/score"]  # no machine's figures in the table


def test_an_arm_is_told_by_its_method():
    def told(method, seeds):
        arm = {"method": method, "overrides": {}, "seeds": seeds}
        return about.group({**start("bundled", "x", 0), "about": {"arm": arm}})

    assert "Arm `x` on base `bundled`, seed 0 (its only one)." in told("dpo", [0])
    assert "direct preference optimisation on the pairs. Its own keys: none;" in told("dpo", [0, 1])
    assert "keys" not in told("none", [0])
