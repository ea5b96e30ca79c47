"""Lines of lmms-eval's logged samples: every version's, and what is wrong in one sentence."""

import json
from types import SimpleNamespace

import pytest

from steps.behaviour import loglines
from steps.behaviour.samples import samples, theirs, thoughtless, truths
from steps.stage import StageError
from tests.behaviour import lmms

TEN = ["red"] * 8 + ["dark red"] * 2


def entry(score="exact", **keys):
    return SimpleNamespace(
        **{"score": score, "target": None, "metric": None, "answers": None, "tolerance": 0.05}
        | keys
    )


@pytest.mark.parametrize("version", lmms.WRITERS)
def test_every_version_says_the_same(tmp_path, version):
    """Also an answer that a filter changed (AI2D's takes the letter): what was said is read."""
    raw = lmms.example(7, "Which?\nA. cat\nB. dog", "B. a dog", "B", filtered="B", exact_match=1.0)
    given = [*lmms.pope(["Yes", "No.", "maybe", "no"]), raw]
    file = lmms.write(tmp_path / f"x.json{'' if version == '0.2' else 'l'}", given, version)
    found = list(samples(file, entry()))
    assert [one.item for one in found] == ["0", "1", "2", "3", "7"]
    assert [one.said for one in found] == ["Yes", "No.", "maybe", "no", "B. a dog"]
    assert [one.theirs for one in found] == [1.0, 0.0, 0.0, 1.0, 1.0]
    assert found[1].prompt.startswith("Is there a dog 1?\nAnswer") and found[1].answers == ["no"]


def test_what_ten_people_said_is_in_doc_or_in_a_file_of_its_own(tmp_path):
    doc = {"answers": [{"answer": word, "answer_id": i} for i, word in enumerate(TEN)]}
    one = [lmms.example(3, "What colour?", "red", "answer", doc)]
    old = lmms.write(tmp_path / "old.jsonl", one, "0.3")
    new = lmms.write(tmp_path / "new.jsonl", one, "0.4")
    assert next(samples(old, entry("vqa"))).answers == TEN
    with pytest.raises(StageError, match=r"new\.jsonl, line 1: there is no doc\.answers .*0\.4"):
        list(samples(new, entry("vqa")))
    keys = tmp_path / "keys.jsonl"
    keys.write_text(json.dumps({"doc_id": 3, "answers": TEN}) + "\n")
    assert next(samples(new, entry("vqa", answers=str(keys)))).answers == TEN
    keys.write_text(json.dumps({"doc_id": 4, "answers": TEN}) + "\n")
    with pytest.raises(StageError, match=r"keys\.jsonl has no doc_id 3: add it there"):
        list(samples(new, entry("vqa", answers=str(keys))))


LINE = {"doc_id": 0, "target": "yes", "filtered_resps": "yes", "input": "?"}
BAD = [
    (b"", r"x\.jsonl holds no samples"),
    (b'{"doc_id": 0, "target": "y', r"x\.jsonl, line 1 is no JSON object, as if cut"),
    (b"[1, 2]", r"line 1 is no JSON object"),
    (b"\xff\xfe\x00", r"line 1 is no JSON object"),
    (b"[" * 100_000, r"line 1 is no JSON object"),
    ({"doc_id": 0, "target": "a", "model": "x"}, r"no resps or filtered_resps .*doc_id, target, m"),
    ({"target": "a", "resps": "a"}, r"there is no doc_id \(fields are target, resps\): give the"),
    (
        {"doc_id": 0, "resps": "a", "gold": "a"},
        r"no target \(fields are doc_id, resps, gold\): .*`",
    ),
    (LINE | {"resps": []}, r"resps is empty: the model was not asked"),
    (LINE | {"resps": [[]]}, r"resps is empty"),
    (LINE | {"resps": ["yes", "no"]}, r"resps holds 2 answers: only one answer a question"),
    (LINE | {"filtered_resps": {"a": 1}}, r"filtered_resps holds dict answers"),
    (LINE | {"target": ""}, r"the true answer is '': .*public"),
]


@pytest.mark.parametrize(("given", "said"), BAD)
def test_bad_input_is_one_sentence(tmp_path, given, said):
    file = tmp_path / "x.jsonl"
    file.write_bytes(given if isinstance(given, bytes) else json.dumps(given).encode())
    with pytest.raises(StageError, match=said) as error:
        list(samples(file, entry()))
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_a_line_cut_in_the_middle_is_told_by_its_number(tmp_path):
    file = lmms.write(tmp_path / "x.jsonl", lmms.pope(["yes", "no", "yes", "no"]))
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(StageError, match=r"x\.jsonl, line 4 is no JSON object"):
        list(samples(file, entry()))


def test_a_question_that_stands_twice_is_refused(tmp_path):
    file = lmms.write(tmp_path / "x.jsonl", [*lmms.pope(["yes"] * 4), *lmms.pope(["no"] * 4)])
    with pytest.raises(StageError, match=r"x\.jsonl, line 5: doc_id 0 stands twice"):
        list(samples(file, entry()))


def test_a_huge_line_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(loglines, "LONGEST", 2**20)
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(LINE | {"resps": "a" * 2**20}))
    with pytest.raises(StageError, match=r"line 1 is longer than 1 MiB"):
        list(samples(file, entry()))
    monkeypatch.setattr(loglines, "WHOLE", 2**10)
    with pytest.raises(StageError, match=r"is larger than 0 MiB: give a JSONL file"):
        list(samples(file.rename(tmp_path / "x.json"), entry()))


def test_a_json_file_without_logs_is_refused(tmp_path):
    file = tmp_path / "0101_results.json"
    file.write_text('{"results": {}}')
    with pytest.raises(StageError, match=r"0101_results\.json has no list `logs`"):
        list(samples(file, entry()))


def test_half_characters_and_thoughts(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"doc_id": 0, "target": "a", "resps": "a\\ud800b", "input": null}\n\n')
    one = next(samples(file, entry()))
    assert one.said == "a?b" and one.prompt == ""
    assert thoughtless("<think>A dog?\nNo.</think>\nB") == "\nB"
    assert thoughtless("<think>it never ends") == "" and thoughtless("B <think>") == "B <think>"


def test_true_answers_in_lists():
    assert truths("['$5', '5 $']", "") == ["$5", "5 $"]  # as 0.3 and later write DocVQA's
    assert truths(["a", 2], "") == ["a", "2"] and truths("[not a list", "") == ["[not a list"]
    with pytest.raises(StageError, match=r"here: the true answer is '\[\]'"):
        truths("[]", "here")


def test_lmms_eval_s_own_score():
    line = LINE | {"token_counts": [None], "a": {"x": 1}, "b": {"is_correct": True}, "c": 0.5}
    assert theirs(line, None) == 1.0 and theirs(line, "c") == 0.5 and theirs(line, "a.x") == 1.0
    assert theirs(line, "a") is None and theirs(LINE, None) is None
    assert theirs({"c": float("nan")}, None) is None
