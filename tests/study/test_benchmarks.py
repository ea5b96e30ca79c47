"""Benchmarks on the page: rows, paired differences, and answers that are not to one set."""

import json

import pytest

from steps.study import collect, instruments, report
from steps.study.benchmarks import groups

LENIENT = {"none": 0.5, "continue": 0.52, "sft": 0.6, "dpo": 0.7, "grpo": 0.65}
ASKED = {"count": 500, "sha256": "a"}


@pytest.fixture
def planted(study):
    """The planted study with answers to a benchmark, seed k two points above seed 0's figures."""
    params, inputs, out = study()
    root = inputs["vqa"].parent / "logged"
    for arm, value in LENIENT.items():
        for seed in params.seeds:
            folder = root / "bundled" / arm / f"seed{seed}"
            folder.mkdir(parents=True)
            lenient = value + (0.02 * seed if arm != "none" else 0)
            metrics = {"lenient": lenient, "strict": lenient / 2, "ill_formed": 0.5, "unread": 0.0}
            metrics |= {"logged": lenient - 0.1, "agree": 0.9, "items": 500}
            told = {f"benchmarks/pope/{name}": number for name, number in metrics.items()}
            (folder / "metrics.json").write_text(json.dumps(told))
            (folder / "questions.json").write_text(json.dumps({"pope": ASKED}))
    return params, inputs | {"logged": root}, root, out


def row(summary, metric):
    rows = [r for group in summary["results"]["bundled"] for r in group["rows"]]
    return next(r for r in rows if r["metric"] == metric)


def asked(root, arm, seed, told):
    path = root / "bundled" / arm / f"seed{seed}" / "questions.json"
    path.write_text(json.dumps({"pope": told}))


def test_rows_and_paired_differences(planted):
    """dpo is 20, 22 and 24 points above the base: 22 with an interval of t at two degrees."""
    params, inputs, _, _ = planted
    summary = report.summarise(params, collect.collect(params, inputs), {})
    assert summary["missing"] == []
    told = row(summary, "benchmarks/pope/lenient")
    assert told["label"] == "pope: right answers, read leniently"
    minus = told["arms"]["dpo"]["minus_none"]
    assert minus["mean"] == pytest.approx(22) and minus["n"] == 3
    assert minus["low"] == pytest.approx(22 - 4.302653 * 2 / 3**0.5, abs=1e-3)
    assert told["arms"]["dpo"]["minus_sft"]["mean"] == pytest.approx(10)
    strict = row(summary, "benchmarks/pope/strict")["arms"]["sft"]
    assert strict["mean"] == pytest.approx(31)
    assert row(summary, "benchmarks/pope/agree")["inner"]
    with pytest.raises(StopIteration):
        row(summary, "benchmarks/pope/f1")


def test_answers_to_other_questions_are_left_out_and_named(planted):
    """One seed of dpo, and an arm whose base has other questions; the rest stands."""
    params, inputs, root, out = planted
    asked(root, "dpo", 1, {"count": 499, "sha256": "b"})
    found = collect.collect(params, inputs)
    assert found.missing == [
        "logged/bundled/dpo/seed1: benchmark pope: 499 answers to other questions, prompts or true "
        "answers than the 500 of none, seed 0; left out"
    ]
    told = row(report.summarise(params, found, {}), "benchmarks/pope/lenient")["arms"]
    assert list(told["dpo"]["seeds"]) == [0, 2] and told["dpo"]["minus_none"]["n"] == 2
    report.run(params, inputs, out)
    page = (out / "index.html").read_text()
    assert "499 answers to other questions" in page and "Benchmarks" in page


def test_a_benchmark_without_a_file_is_named(planted):
    """The base's own is not there either: the arms are held against each other."""
    params, inputs, root, _ = planted
    for seed in params.seeds:
        asked(root, "none", seed, None)
    asked(root, "grpo", 2, {"count": 500, "sha256": "c"})
    missing = collect.collect(params, inputs).missing
    assert missing[0] == "logged/bundled/none/seed0: benchmark pope: no file"
    assert [one for one in missing if "than the 500 of continue, seed 0" in one] == missing[-1:]
    assert len(missing) == 4


def test_without_benchmarks_nothing_is_missing_and_there_is_no_table(study):
    params, inputs, _ = study()
    assert collect.collect(params, inputs).missing == []
    titles = {group.title for group in instruments.groups({"vqa/lenient"})}
    assert groups(set())[0].title not in titles
