"""What a study of one's own data cannot have is one sentence before anything runs."""

import re

import pytest

from steps import params as P
from tests.test_params import changed

ARMS = {"none": {"method": "none"}, "sft": {"method": "sft"}, "dpo": {"method": "dpo"}}


def own(place="", value=None, arms=None, **data):
    """The committed values for a study of one's own data, with one changed."""
    values = changed("instruments", ["vqa"])
    values["data"] |= {"source": "files", "path": "x.json", "size": 64, **data}
    values["arms"] = ARMS | (arms or {})
    values["vqa"]["margin"] = values["swap"]["margin"] = False
    if place:
        values.setdefault(place, {})
        values[place] = value if not isinstance(value, dict) else values[place] | value
    return values


WRONG = [
    (
        own("instruments", ["tokens"]),
        r"tokens is not available with data\.source = files",
    ),
    (own("instruments", ["gaze"]), "gaze is not available .* where the object asked about is"),
    (own("instruments", ["compare", "spatial"]), "compare is not available .* told in words"),
    (own("instruments", ["localise"]), "localise is not available .* masks"),
    (
        own("instruments", ["classify"]),
        r"classify probes .* none with a label each: name a folder",
    ),
    (own("instruments", ["segment"]), r"segment probes .* none with a map of classes each: name"),
    (own("instruments", ["drift"]), "drift is not available .* scenes, and words"),
    (own("vqa", {"margin": True}), r"vqa\.margin = True: give false, because answers"),
    (own(size=224), r"data\.size = 224: give world\.canvas = 64, .* base bundled reads"),
    (own(arms={"a": {"method": "sft", "items": "stage1"}}), "arms.a: items = 'stage1' does not go"),
    (own(arms={"a": {"method": "sft", "patch_loss": 1.0}}), "arms.a: patch_loss .* names no mask"),
    (own(arms={"a": {"method": "grpo", "credit": "oracle"}}), "arms.a: credit = 'oracle' does"),
    (own(arms={"dpo": {"method": "grpo"}}, reward="open"), "arms.dpo: method = 'grpo' .* right"),
    (own(reward=["open"]), "arms.dpo: method = 'dpo' .* no rejected answer"),
    (own(preset="llava_pretrain"), "arms.dpo: method = 'dpo' .* no rejected answer"),
    (
        own(arms={"a": {"method": "sft", "targets": "sampled"}}, preset="mmpr"),
        "arms.a: targets = 'sampled' .* no answers are drawn where rejected ones are given",
    ),
    (own(path=None), r"data: source is 'files' and path nothing: name the file or folder"),
    (own(reward="exactly"), r"data\.reward"),
    (own(reward=["exact", "x.py:f"]), "a function of your own stands alone"),
    (own(columns={"rejected": "r"}), r"data\.columns: rejected is 'r': name the column of chosen"),
    (own(columns={"question": "q"}), r"data\.columns\.question = 'q' is not a key: .* id, image"),
    (own(preset="coco"), r"data\.preset = 'coco' is not allowed: give one of llava_pretrain"),
    (own(test_share=1.0), r"data\.test_share = 1\.0 is not allowed: give a number > 0 and < 1"),
]


@pytest.mark.parametrize(("values", "said"), WRONG)
def test_one_sentence(values, said):
    with pytest.raises(P.ParamsError) as error:
        P.check(values, "params.yaml")
    assert re.search(said, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


def test_open_data_is_for_training_alone():
    values = own(preset="llava_pretrain", columns={"chosen": "c", "rejected": "r"})
    with pytest.raises(P.ParamsError, match="vqa has nothing to judge answers by"):
        P.check(values)


@pytest.mark.parametrize(
    "data",
    [{}, {"preset": "vsr"}, {"reward": "a/b.py:f"}, {"reward": ["choice", "exact"]},
     {"columns": {"mask": "m", "choices": ["a", "b"]}}, {"preset": "mmpr", "test_path": "x"}],
)  # fmt: skip
def test_what_is_right_is_let_through(data):
    assert P.check(own(arms={"g": {"method": "grpo"}}, **data)).data.path == "x.json"
