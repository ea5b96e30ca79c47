"""Logged answers to benchmarks: each score by hand, and the stage that keeps them."""

import json
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from steps import outside
from steps.behaviour import logged
from steps.behaviour.rescore import KINDS, scored
from steps.behaviour.samples import Sample
from steps.manifest import digest
from steps.schema.logged import Benchmark
from steps.stage import StageError
from tests.behaviour import lmms

LIST = "Which?\nA. red\nB. dark red\nC. a blue one\nAnswer with the option's letter from the given"
SHORT = "How many?\nAnswer the question using a single word or phrase."
BOXED = r"How many? Put your final answer in \boxed{}."
CASES = [
    # score, prompt, said, true: lenient, strict, well-formed, read
    ("yes_no", "Is it?", "Yes", "yes", 1, 1, 1, "yes"),
    ("yes_no", "Is it?", "Yes, it is.", "Yes", 1, 0, 0, "yes"),
    ("yes_no", "Is it?", "no", "Yes.", 0, 0, 1, "no"),
    ("yes_no", "Is it?", "maybe", "no", 0, 0, 0, None),
    ("yes_no", "Is it? Answer:", "no", "no", 1, 1, 1, "no"),
    ("choice", LIST, "B", "B", 1, 1, 1, "dark red"),
    ("choice", LIST, "(B)", "B", 1, 1, 1, "dark red"),
    ("choice", LIST, "B. dark red", "(B)", 1, 1, 1, "dark red"),
    ("choice", LIST, "dark red", "B", 1, 1, 1, "dark red"),
    ("choice", LIST, "It looks rather like B. as far as I can see", "B", 1, 0, 0, "dark red"),
    ("choice", LIST, "<think>A? No.</think>\nB", "B", 1, 1, 1, "dark red"),
    ("choice", LIST, "A", "B", 0, 0, 1, "red"),
    ("choice", LIST, "none of these", "B", 0, 0, 0, None),
    ("choice", LIST, "C", "a blue one", 1, 1, 1, "a blue one"),
    ("choice", SHORT, "two", "2", 1, 0, 0, "2"),
    ("choice", SHORT, "Left.", "left", 1, 1, 1, "left"),
    ("exact", SHORT, "The Cat", "cat", 1, 1, 1, "cat"),
    ("exact", SHORT, "It is surely a cat. Answer: cat", "cat", 1, 0, 0, "cat"),
    ("exact", SHORT, "cats", "cat", 0, 0, 1, "cats"),
    ("exact", SHORT, "dog", ["cat", "dog"], 1, 1, 1, "dog"),
    ("numeric", SHORT, "14.2", "14", 1, 1, 1, "14.2"),
    ("numeric", SHORT, "15", "14", 0, 0, 1, "15"),
    ("numeric", SHORT, "about 14 of them", "14", 1, 0, 0, "14"),
    ("numeric", SHORT, "0.14", "14%", 1, 1, 1, "0.14"),
    ("numeric", SHORT, "Germany", "germany", 1, 1, 1, "germany"),
    ("numeric", BOXED, r"So it is \boxed{14}", "14", 1, 1, 1, "14"),
    ("numeric", BOXED, "14", "14", 1, 0, 0, "14"),
    ("anls", SHORT, "sitting", ["kitten", "dog"], 4 / 7, 4 / 7, 1, "sitting"),
    ("anls", SHORT, "I read it there. Answer: kitten", ["kitten"], 1, 0, 0, None),
    ("vqa", SHORT, "Red.", ["red"] * 2 + ["blue"] * 8, 0.6, 0.6, 1, "red"),
    ("vqa", SHORT, "It is all over it. Answer: blue", ["blue"] * 10, 1, 0, 0, "blue"),
]


def sample(prompt, said, true):
    return Sample("0", prompt, said, true if isinstance(true, list) else [true], None, "here")


@pytest.mark.parametrize(
    ("kind", "prompt", "said", "true", "lenient", "strict", "formed", "read"), CASES
)
def test_each_score_by_hand(kind, prompt, said, true, lenient, strict, formed, read):
    found = scored(kind, sample(prompt, said, true), 0.05)
    assert found.lenient == pytest.approx(lenient) and found.strict == pytest.approx(strict)
    assert found.well_formed == bool(formed)
    if kind != "anls" or read:
        assert found.answer == read


def test_each_kind_is_one_that_params_know():
    score = Benchmark.model_json_schema()["properties"]["score"]["enum"]
    assert sorted(score) == sorted(KINDS)


@pytest.mark.parametrize(
    ("kind", "prompt", "true", "said"),
    [
        ("yes_no", "Is it?", "red", r"here: the true answer 'red' is neither yes nor no: .*file"),
        ("choice", LIST, "D", r"here: the true answer 'D' is none of the 3 options of the prompt"),
        ("choice", "Which?", "B", r"here: the true answer is B, and the prompt lists no options"),
        ("vqa", SHORT, ["red"], r"here: score vqa needs the answers of ten people, here are 1"),
    ],
)
def test_a_file_of_another_task_is_told(kind, prompt, true, said):
    with pytest.raises(StageError, match=said):
        scored(kind, sample(prompt, "x", true), 0.05)


DIRECT = "Answer with the option's letter from the given choices directly."
PROMPTS = {
    "mmbench": "How many? There are several options:\nA. one\nB. two\n\n" + DIRECT,
    "ai2d": "What eats it?\nA. one\nB. two\nC. 3\n" + DIRECT,
    "scienceqa": "Context: A map. B. is a name.\nWhich?\nA. one\nB. two\n" + DIRECT,
    "mmstar": "Which?\nOptions: A: one, B: two, C: three, D: four\n" + DIRECT,
    "cv_bench": "Note: You only need to respond with A, B without providing any additional "
    "information.\nHow many? Select from the following choices.\n(A) one\n(B) two",
    "realworldqa": "Which?\n\nA. one\nB. two\nC. three\nPlease answer directly with only the "
    "letter of the correct option and nothing else.",
    "mathvista": "Hint: Please answer the question and provide the correct option letter, e.g., A, "
    "B, C, D, at the end.\nQuestion: Which?\nChoices:\n(A) one\n(B) two",
    "qwen": "Context: N/A\nQuestion: Which?\nOptions: A. one\nB. two\nAnswer:",
    "mmmu": "Which?\nA. <image>\nB. <image>\nC. <image>\n\n" + DIRECT,
    "points": "Which point?\nA. B\nB. A\n" + DIRECT,
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_prompts_of_tasks_list_their_options(prompt):
    """As the tasks write them; a letter is right, another one wrong, wherever it may stand."""
    for said, right in (("B", 1), ("(B)", 1), ("B.", 1), ("The answer is B.", 1), ("A", 0)):
        found = scored("choice", sample(prompt, said, "B"), 0.05)
        assert found.lenient == right, said
        assert found.strict == right * (said != "The answer is B."), said


@pytest.fixture
def stage(tmp_path):
    """`stage(files, **entries)`: run it on these files and entries; returns metrics and rows."""

    def call(files, **entries):
        told = {
            name: path and {"path": str(path), "sha256": digest(path)}
            for name, path in files.items()
        }
        noted, out = tmp_path / "evals.json", tmp_path / "out"
        noted.write_text(outside.text(told))
        out.mkdir(exist_ok=True)
        who = SimpleNamespace(study="s", base="b", arm="sft", seed=1)
        known = {name: Benchmark(path="x", **keys) for name, keys in entries.items()}
        params = SimpleNamespace(benchmarks=known, run=who)
        metrics = logged.run(params, {"evals": noted}, out)
        rows = pd.read_parquet(out / "items.parquet")
        return metrics, rows, json.loads((out / logged.QUESTIONS).read_text())

    return call


def test_the_stage_keeps_every_answer(stage, tmp_path):
    """By hand: yes right; `No.` right, by lmms-eval wrong; a sentence right, ill-formed; junk."""
    said = ["Yes", "No.", "Yes, on the left.", "<script>alert('x')</script>"]
    file = lmms.write(tmp_path / "0101_samples_pope.jsonl", lmms.pope(said))
    metrics, rows, asked = stage({"pope": file}, pope={"score": "yes_no"})
    assert list(rows.columns[:5]) == ["study", "base", "arm", "seed", "instrument"]
    assert set(rows["instrument"]) == {"benchmarks/pope"} and rows["item"].tolist() == list("0123")
    assert rows["raw"].tolist() == said and rows["arm"].tolist() == ["sft"] * 4
    assert rows["lenient"].tolist() == [1, 1, 1, 0] and rows["strict"].tolist() == [1, 1, 0, 0]
    wanted = {"lenient": 0.75, "strict": 0.5, "ill_formed": 0.5, "unread": 0.25, "items": 4}
    wanted |= {"logged": 0.25, "agree": 0.5, "f1": 1.0, "yes": 0.5}
    assert metrics == {f"benchmarks/pope/{name}": value for name, value in wanted.items()}
    assert asked["pope"]["count"] == 4


def test_an_arm_without_a_file_has_no_figures(stage):
    metrics, rows, asked = stage({"pope": None}, pope={"score": "yes_no", "required": False})
    assert metrics == {} and len(rows) == 0 and asked == {"pope": None}
    assert "lenient" in rows.columns


def test_questions_are_told_apart_in_any_order(stage, tmp_path):
    """Other answers to the same questions, from another version: the same; other truths: not."""
    first = lmms.pope(["yes"] * 4)
    told = []
    for number, (some, version) in enumerate(
        [
            (first, "0.7"),
            (lmms.pope(["no"] * 4)[::-1], "0.4"),
            (first[:3], "0.7"),
            (lmms.pope(["yes"] * 4, ["no", "no", "yes", "no"]), "0.7"),
        ]
    ):
        file = lmms.write(tmp_path / f"{number}.jsonl", some, version)
        told.append(stage({"pope": file}, pope={"score": "yes_no"})[2]["pope"])
    assert told[0] == told[1] and told[0]["count"] == 4 and told[2]["count"] == 3
    assert len({one["sha256"] for one in told}) == 3


def test_a_file_that_changed_since_is_refused(stage, tmp_path):
    file = lmms.write(tmp_path / "x.jsonl", lmms.pope(["yes"] * 4))
    _, _, _ = stage({"pope": file}, pope={"score": "yes_no"})
    params = SimpleNamespace(benchmarks={"pope": Benchmark(path="x", score="yes_no")})
    file.write_text(file.read_text() + "\n")
    with pytest.raises(StageError, match=r"x\.jsonl is not what .*evals\.json says: run the study"):
        logged.run(params, {"evals": tmp_path / "evals.json"}, tmp_path / "out")


def test_a_metric_that_no_line_has_is_told(stage, tmp_path):
    file = lmms.write(tmp_path / "x.jsonl", lmms.pope(["yes"] * 4))
    entry = {"score": "yes_no", "metric": "pope_accuracy.score"}
    assert stage({"pope": file}, pope=entry)[0]["benchmarks/pope/logged"] == 0.5
    with pytest.raises(StageError, match=r"no line has a number at metric 'mme': name the field"):
        stage({"pope": file}, pope=entry | {"metric": "mme"})


def test_an_answer_takes_less_than_a_millisecond(stage, tmp_path):
    """Of a processor's time, with room for a slow one: 10,000 answers take some three seconds."""
    some = [
        lmms.example(n, LIST, "I think that the answer is B. dark red", "B", exact_match=1.0)
        for n in range(1500)
    ]
    file = lmms.write(tmp_path / "x.jsonl", some)
    start = time.process_time()
    metrics, _, _ = stage({"x": file}, x={"score": "choice"})
    took = time.process_time() - start
    assert metrics["benchmarks/x/lenient"] == metrics["benchmarks/x/agree"] == 1.0
    assert took < 2, took
