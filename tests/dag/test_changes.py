"""What a change runs again: exactly the stages that read it and what follows, in both engines."""

import re
import shutil

import pytest

from tests import toy

pytestmark = pytest.mark.slow

ARMS, RESULTS = 6, 109
"""Arms of the stand-in, and results, on its one seed."""
LOOKS = {"extract": 1, "features": 1, "classify": 1, "segment": 1, "vqa": 1, "report": 1}
LOOKS |= {"sharpen": 1, "tokens": 1, "gaze": 1, "swap": 1, "forget": 1, "drift": 1, "localise": 1}
LOOKS |= {"reuse": 1, "turned": 1}
SPATIAL = dict.fromkeys(("spatial", "heads", "intervene", "atlas"), 1)
CHANGES = {
    # key: the line in params.yaml, its new text, who reads it, what runs in all
    "grpo.beta": (r"^  beta: 0\.0$", "  beta: 0.5", {"grpo"}, {"grpo": 1} | LOOKS),
    "sft.epochs": (
        r"^  epochs: 2\.0$",
        "  epochs: 3.0",
        {"sft"},
        {"sft": 3} | dict.fromkeys(LOOKS, 3) | {"report": 1},
    ),
    "vqa.max_tokens": (
        r"(?s)(\nvqa:.*?max_tokens: )\d+",
        r"\g<1>7",
        {"vqa"},
        {"vqa": ARMS, "report": 1},
    ),
    "classify.select_share": (
        r"(?s)(\nclassify:.*?select_share: )\S+",
        r"\g<1>0.3",
        {"classify", "baselines"},
        {"classify": ARMS, "forget": ARMS, "baselines": 1, "report": 1},
    ),
    "spatial.permutations": (
        r"^  permutations: 200$",
        "  permutations: 20",
        {"spatial"},
        SPATIAL | {"report": 1},
    ),
    "report.samples": (r"^  samples: \d+$", "  samples: 3", {"report"}, {"report": 1}),
    "classify.digits_draws": (
        r"^  digits_draws: \d+$",
        "  digits_draws: 3",
        {"baselines", "classify"},
        {"classify": ARMS, "forget": ARMS, "baselines": 1, "report": 1},
    ),
}


def test_after_one_engine_the_other_has_nothing_to_do(ran, snakemake_plans, dvc_changed):
    assert snakemake_plans(ran) == ({}, set())
    assert dvc_changed(ran) == set()


@pytest.mark.parametrize("key", CHANGES)
def test_a_changed_key_runs_exactly_its_readers(ran, snakemake_plans, dvc_changed, key):
    pattern, new, readers, planned = CHANGES[key]
    toy.edit(ran / "params.yaml", pattern, new)
    assert snakemake_plans(ran) == (planned, readers)
    assert dvc_changed(ran) == readers


def test_a_comment_in_params_runs_nothing(ran, snakemake_plans, dvc_changed):
    with (ran / "params.yaml").open("a") as file:
        file.write("# a comment\n")
    assert snakemake_plans(ran) == ({}, set())
    assert dvc_changed(ran) == set()


@pytest.mark.parametrize(
    ("module", "readers"),
    [
        ("steps/encoder/shared.py", {"features"}),
        ("steps/posttrain/dpo.py", {"dpo"}),
        ("steps/stage.py", set()),
        ("steps/schema/section.py", set()),
        ("steps/study/plan.py", set()),
    ],
)
def test_an_edited_module_runs_exactly_its_users(
    ran, snakemake_plans, dvc_changed, module, readers
):
    with (ran / module).open("a") as file:
        file.write("\n# edited\n")
    planned, _ = snakemake_plans(ran)
    assert dvc_changed(ran) == readers
    assert readers <= set(planned) and bool(planned) == bool(readers)
    if "features" in readers:
        probes = dict.fromkeys(("features", "classify", "segment", "forget"), ARMS)
        assert planned == probes | {"report": 1}


def test_the_contracts_number_runs_everything(ran, snakemake_plans, dvc_changed):
    (ran / "steps/VERSION").write_text("2\n")
    planned, _ = snakemake_plans(ran)
    assert dvc_changed(ran) == set(planned) and sum(planned.values()) == RESULTS


def add_a_photograph(stamps):
    (stamps / "animals/new.png").write_text("new")


def change_a_photograph(stamps):
    (stamps / "animals/0.png").write_text("other")


def name_a_photograph(stamps):
    (stamps / "animals/0.txt").write_text("A cat.")


def take_all_away(stamps):
    stamps.rename(stamps.with_name("elsewhere"))


@pytest.mark.parametrize(
    "change", [add_a_photograph, change_a_photograph, name_a_photograph, take_all_away]
)
def test_other_photographs_run_what_shows_them(ran, snakemake_plans, dvc_changed, change):
    change(ran / toy.STAMPS)
    planned, _ = snakemake_plans(ran)
    shown = dict.fromkeys(("features", "classify", "segment", "forget", "drift"), ARMS)
    shown |= {"probes": 1, "baselines": 1, "report": 1}
    assert planned == shown
    assert dvc_changed(ran) == {"probes", "report"}  # photos.json is in place by now


def test_dvc_finds_other_photographs_by_itself(ran):
    said = toy.call(ran, "dvc", "repro", "probes@0").stdout
    assert "Stage 'probes@0' didn't change, skipping" in said
    change_a_photograph(ran / toy.STAMPS)
    said = toy.call(ran, "dvc", "repro", "probes@0").stdout
    assert "Running stage 'probes@0'" in said
    said = toy.call(ran, "dvc", "repro", "probes@0").stdout
    assert "Stage 'probes@0' didn't change, skipping" in said


def test_one_more_seed_runs_only_its_own(ran, snakemake_plans):
    """Not the arm of the first seed alone, and not what has seeds of its own."""
    toy.edit(ran / "params.yaml", r"^seeds: .*$", "seeds: [0, 1]")
    planned, _ = snakemake_plans(ran)
    assert planned == {
        "items": 1, "probes": 1, "pairs": 1, "none": 1, "sft": 2, "dpo": 1, "grpo": 1,
        "extract": 5, "features": 5, "classify": 5, "segment": 5, "vqa": 5, "sharpen": 5,
        "tokens": 5, "swap": 5, "forget": 5, "drift": 5, "localise": 5, "reuse": 5, "newcomers": 1,
        "baselines": 1, "report": 1,
    }  # fmt: skip


def test_one_more_arm_runs_only_its_own(ran, snakemake_plans):
    toy.edit(
        ran / "params.yaml",
        r"^  grpo: \{method: grpo\}$",
        "  grpo: {method: grpo}\n  hot: {method: sft, learning_rate: 1e-2}",
    )
    planned, _ = snakemake_plans(ran)
    assert planned == {"sft": 1} | LOOKS


def test_dvc_runs_what_snakemake_plans_and_snakemake_adopts_it(ran, snakemake_plans):
    toy.edit(ran / "params.yaml", r"^  beta: 0\.1$", "  beta: 0.2")
    planned, _ = snakemake_plans(ran)
    done = toy.call(ran, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    names = re.findall(r"(?m)^Running stage '(\w+)@?.*'", done.stdout + done.stderr)
    assert {name: names.count(name) for name in names if name != "check"} == planned
    assert planned == {"dpo": 1} | LOOKS
    done = toy.call(ran, "steps", "adopt")
    assert done.returncode == 0 and f"{RESULTS} of {RESULTS}" in done.stderr, done.stderr
    assert snakemake_plans(ran) == ({}, set())


def test_adoption_takes_only_what_is_in_order(ran, snakemake_plans, dvc_changed):
    broken = ran / "results/embedded/vqa/bundled/sft/seed0/told.json"
    broken.write_text(broken.read_text() + " ")
    shutil.rmtree(ran / ".snakemake/metadata", ignore_errors=True)
    done = toy.call(ran, "steps", "verify")
    assert done.returncode == 1 and "told.json holds" in done.stderr
    assert "report: its input results/embedded/vqa/bundled/sft/seed0 is not in" in done.stderr
    done = toy.call(ran, "steps", "adopt")
    assert done.returncode == 0 and f"{RESULTS - 2} of {RESULTS}" in done.stderr, done.stderr
    assert {"vqa"} <= dvc_changed(ran) <= {"vqa", "report"}
    done = toy.call(ran, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert toy.call(ran, "steps", "verify").returncode == 0


def test_results_of_other_params_are_not_adopted(ran):
    toy.edit(ran / "params.yaml", r"^  beta: 0\.1$", "  beta: 0.2")
    done = toy.call(ran, "steps", "verify")
    assert "dpo/seed0: it was made with other params (dpo)" in done.stderr
    (ran / "steps/posttrain/none.py").open("a").write("# edited\n")
    done = toy.call(ran, "steps", "verify")
    assert "none/seed0: it was made by other code" in done.stderr


def test_status_says_what_there_is_and_what_would_run(ran):
    fine = toy.call(ran, "steps", "status")
    assert fine.returncode == 0, fine.stderr
    assert re.search(rf"(?m)^vqa +{ARMS}$", fine.stdout)
    assert "Snakemake would run: nothing" in fine.stdout
    assert "DVC would run: nothing" in fine.stdout and "in order" in fine.stdout
    told = ran / "results/embedded/vqa/bundled/sft/seed0/told.json"
    told.write_text(told.read_text() + " ")
    shutil.rmtree(ran / "results/embedded/drift/bundled/dpo/seed0")
    toy.edit(ran / "params.yaml", r"^  beta: 0\.1$", "  beta: 0.2")
    said = toy.call(ran, "steps", "status").stdout
    head, *rows = (line.split() for line in said.partition("vqa/bundled")[0].splitlines()[:-1])
    counts = {row[0]: row[1:] for row in rows}
    assert " ".join(head) == "in order missing stale waiting damaged"
    assert counts["dpo"] == ["-", "-", "1", "-", "-"]
    assert counts["drift"][1] == "1" and counts["vqa"][-1] == "1" and counts["report"][3] == "1"
    assert "told.json holds" in said and "it was made with other params (dpo)" in said
    assert re.search(r"Snakemake would run: .*dpo 1", said)
    assert re.search(r"DVC would run: .*dpo 1", said)
    assert said.endswith("rm -r results/embedded/vqa/bundled/sft/seed0\nmake study\n")
