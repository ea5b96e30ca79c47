"""Which file of logged answers an arm takes, and what is told where that is not one file."""

import pytest

from steps import evals
from steps import params as P
from steps.stage import Missing, StageError
from tests.test_params import GOOD

PATH = "evals/{arm}/seed{seed}/*_samples_*.jsonl"


def checked(arms=None, **entry):
    values = {**GOOD, "benchmarks": {"pope": {"path": PATH, "score": "yes_no", **entry}}}
    values["arms"] = arms or {"none": {"method": "none"}, "sft": {"method": "sft"}}
    return P.check(values, "params.yaml")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """`here(arm, seed, name)`: put a file of answers in its place."""
    monkeypatch.chdir(tmp_path)

    def put(arm, seed, name="0101_samples_pope.jsonl", text="{}"):
        folder = tmp_path / "evals" / arm / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return put


def told(params, tmp_path):
    return evals.told(params, tmp_path / "results" / ".evals.json")


def test_the_base_needs_one_evaluation_and_an_arm_one_a_seed(here, tmp_path):
    params = checked()
    here("none", 0)
    for seed in params.seeds:
        here("sft", seed, text=str(seed))
    found = told(params, tmp_path)
    first = found["bundled", "none", 0]["pope"]
    assert first["path"] == "evals/none/seed0/0101_samples_pope.jsonl"
    assert all(found["bundled", "none", seed]["pope"] == first for seed in params.seeds)
    assert len({found["bundled", "sft", s]["pope"]["sha256"] for s in params.seeds}) == 3
    here("none", 2, text="its own")
    own = told(params, tmp_path)["bundled", "none", 2]["pope"]
    assert own["path"].startswith("evals/none/seed2") and own["sha256"] != first["sha256"]


def test_weights_from_elsewhere_that_all_seeds_share_need_one(here):
    mine = {"method": "checkpoint", "path": "runs/mine"}
    own = {"method": "checkpoint", "path": "runs/{seed}"}
    params = checked({"none": {"method": "none"}, "mine": mine, "own": own})
    assert [evals.alike(params, arm) for arm in ("none", "mine", "own")] == [True, True, False]
    here("mine", 0)
    assert evals.files(params, "pope", "bundled", "mine", 2).startswith("evals/mine/seed0")
    here("own", 0)
    with pytest.raises(Missing, match=r"there is no evals/own/seed2/.* \(arm own, seed 2\)"):
        evals.files(params, "pope", "bundled", "own", 2)


def test_of_several_files_none_is_taken(here):
    here("sft", 0)
    here("sft", 0, "0102_samples_pope.jsonl")
    with pytest.raises(StageError) as error:
        evals.files(checked(), "pope", "bundled", "sft", 0)
    assert str(error.value) == (
        "benchmarks.pope.path: evals/sft/seed0/*_samples_*.jsonl (arm sft, seed 0) fits 2 files, "
        "evals/sft/seed0/0101_samples_pope.jsonl, evals/sft/seed0/0102_samples_pope.jsonl: leave "
        "one there"
    )


def test_one_entry_is_one_task(here, tmp_path):
    here("none", 0)
    for seed in (0, 1, 2):
        here("sft", seed, "0101_samples_gqa.jsonl" if seed else "0101_samples_pope.jsonl")
    with pytest.raises(StageError, match=r"seed1/0101_samples_gqa\.jsonl is of task gqa, .* pope"):
        told(checked(), tmp_path)
    assert evals.task("x/samples_mmmu_val.jsonl") == "mmmu_val" and evals.task("pope.json") == ""


def test_a_file_is_read_anew_only_if_it_changed(here, tmp_path, monkeypatch):
    params = checked(required=False)
    here("none", 0)
    before = told(params, tmp_path)
    assert before["bundled", "sft", 1] == {"pope": None}
    with monkeypatch.context() as patch:
        patch.setattr("steps.outside.digest", lambda _: pytest.fail("it was read again"))
        assert told(params, tmp_path) == before
    here("none", 0, text="{} ")
    assert told(params, tmp_path) != before


def test_a_file_with_the_true_answers_is_watched_too(here, tmp_path):
    params = checked(required=False, answers="keys.jsonl")
    here("none", 0)
    with pytest.raises(Missing, match=r"benchmarks\.pope\.answers = 'keys\.jsonl': there is no"):
        told(params, tmp_path)
    (tmp_path / "keys.jsonl").write_text("1")
    one = told(params, tmp_path)["bundled", "none", 0]["pope"]["answers"]
    (tmp_path / "keys.jsonl").write_text("22")
    assert told(params, tmp_path)["bundled", "none", 0]["pope"]["answers"] != one


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"path": "evals/{seed}.jsonl"}, r"path = 'evals/\{seed\}\.jsonl': write \{arm\} in it"),
        (
            {"path": "evals/{arm}.jsonl"},
            r"path = .*: write \{seed\} in it, because the study has 3 seeds",
        ),
        ({"score": "bleu"}, r"score = 'bleu' .* one of yes_no, choice, exact, numeric, anls, vqa"),
        ({"scores": "vqa"}, r"scores = 'vqa' is not a key: allowed are path, score, required"),
        ({"tolerance": 2.0}, r"tolerance = 2\.0 is not allowed: give a number >= 0 and <= 1"),
    ],
)
def test_wrong_entries_are_one_sentence(entry, said):
    with pytest.raises(P.ParamsError, match=rf"^params\.yaml: benchmarks\.pope\.{said}") as error:
        checked(**entry)
    assert "\n" not in str(error.value)
