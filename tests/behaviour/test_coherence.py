"""Rationales: references are wholly true and coherent, and slips by hand are found one by one."""

import json

import numpy as np
import pandas as pd
import pytest

from steps import params
from steps.behaviour import coherence, vqa
from steps.data import questions as q
from steps.data.far import crowded
from steps.data.items import truth
from steps.data.language import View
from steps.data.requests import put
from steps.data.speech import DRAWN, of, photographs
from steps.data.world import sample

SCENE = {
    "things": [
        ["small red square", "top left"],
        ["large blue circle", "top left"],
        ["large red star", "middle right"],
        ["letter m", "bottom center"],
    ],
    "about": [],
    "canvas": 64,
}


@pytest.fixture(scope="module", params=["drawn", "photos"])
def references(request, photographed):
    """A table of questions of every kind in both styles, in plain and in crowded scenes."""
    world, rng, rows = params.load().world, np.random.default_rng(0), []
    world = world if request.param == "drawn" else photographed
    for some in (world, crowded(world)):
        scenes = sample(some, rng, 150, "test", novel=True)
        for i in range(len(scenes)):
            view = View(scenes, i)
            for kind in of(world).kinds:
                question = q.ask(view, kind, rng)
                for style in "ab" if question else ():
                    one = put(question, style, "rationale")
                    rows.append(
                        {"item": len(rows), "kind": kind, "form": one.form, "style": style}
                        | {"response": one.response, "value": question.value, "novel": True}
                        | {"choices": list(question.choices), "truth": truth(view, question)}
                    )
    return pd.DataFrame(rows)


def test_references_are_true_and_follow_wherever_places_decide(references):
    said = references["response"].tolist()
    judged = coherence.judged(references, said)
    facts = references["kind"] == "fact"
    assert judged[facts].isna().all(None) and facts.any()
    found, kinds = judged[~facts], references.loc[~facts, "kind"]
    every = [set(speech.kinds) - {"fact"} for speech in (DRAWN, photographs())]
    assert len(found) > 1000 and set(kinds) in every
    assert (found["unread"] == 0).all() and (found["statements"] > 0).all()
    assert (found["true"] == found["statements"]).all() and (found["whole"] == 1).all()
    assert (found["follows"].fillna(1) == 1).all()
    untold = found["follows"].isna()
    assert set(kinds[untold]) == {"relation"}  # two objects in one cell
    assert untold.sum() < 0.1 * (kinds == "relation").sum()
    figures = coherence.figures(vqa.score(references, said).join(judged))
    assert figures.pop("open") == pytest.approx(untold.mean())
    wanted = {"unread": 0, "true": 1, "follows": 1, "judged": 1}
    wanted |= {"true_right": 1, "true_wrong": 0, "false_right": 0, "false_wrong": 0}
    assert figures == wanted


def test_the_rationale_of_another_scene_is_mostly_false_but_still_followed(references):
    """The control for the test above: words that are right somewhere else are not true here."""
    for kind, part in references[references["kind"] != "fact"].groupby("kind"):
        part = part.reset_index(drop=True)
        moved = np.roll(part["response"], 7).tolist()  # odd: no neighbour in the other style
        found = coherence.judged(part, moved)
        assert found["whole"].mean() < 0.5 and (found["unread"] == 0).all(), kind
        if kind not in ("relation", "existence"):
            assert found["follows"].mean() == 1, kind


ASKED = {  # kind, what the question asks about, the true answer
    "what color is the small square ?": ("color", ["small square"], "red"),
    "what shape is the blue object ?": ("shape", ["blue object"], "circle"),
    "what size is the red star ?": ("size", ["red star"], "large"),
    "what letter is shown ?": ("glyph", ["letter"], "m"),
    "how many red objects are there ?": ("count", ["red objects"], "two"),
    "how many objects are there ?": ("count", ["objects"], "three"),
    "how many rings are there ?": ("count", ["rings"], "zero"),
    "is there a red star ?": ("existence", ["red star"], "yes"),
    "is there a blue star ?": ("existence", ["blue star"], "no"),
    "where is the red square relative to the red star ?":
        ("relation", ["red square", "red star"], "left"),
    "where is the red square relative to the blue circle ?":
        ("relation", ["red square", "blue circle"], "left"),
}  # fmt: skip
SHORT = {
    "@tl": "at the top left", "@tc": "at the top center", "@tr": "at the top right",
    "@ml": "at the middle left", "@mr": "at the middle right", "@bc": "at the bottom center",
    "=": "answer :",
}  # fmt: skip
# What is said | how many statements, unread, true; wholly true? does the answer follow? (-: open)
SAID = """
what color is the small square ?
the small square is @tl . it is red . = red | 2 0 2 1 1
the small square is @tl . it is red . = blue | 2 0 2 1 0
the small square is @mr . it is blue . the answer is red | 2 0 0 0 0
it is red = red | 1 0 1 1 1
it is red . it is blue . = blue | 2 0 1 0 1
the small square is @tl . = red | 1 0 1 1 -
the sky is @tl . it is red . = red | 2 2 0 - 1
the small square is @tl . it is red . = | 2 0 2 1 -
= red | 0 0 0 - -
red | 0 0 0 - -
it is red . red | 1 0 1 1 1
what shape is the blue object ?
the blue object is @tl . it is a circle . = circle | 2 0 2 1 1
what size is the red star ?
the red star is @mr . it is large . = small | 2 0 2 1 0
the red star is @tl . it is large . = large | 2 0 1 0 1
the green star is @tl . it is large . = large | 2 0 0 0 1
what letter is shown ?
there is a letter @bc . it is m . = m | 2 0 2 1 1
there is a letter @tc . it is m . = h | 2 0 1 0 0
how many red objects are there ?
one @tl , one @mr . = two | 2 0 2 1 1
one @tl . = two | 1 0 1 0 0
one @tl , one @tl . = two | 2 0 1 0 1
one @tl , one right . = two | 2 1 1 - -
one @tl , one @tl , one @tl , one @tl , one @tl , one @tl , one @tl . = four | 7 0 1 0 0
i see none . = zero | 1 0 0 0 1
how many objects are there ?
one @tl , one @tl , one @mr . = four | 3 0 3 1 0
how many rings are there ?
i see none . = zero | 1 0 1 1 1
is there a red star ?
i see one @mr . = yes | 1 0 1 1 1
i see one @ml . = yes | 1 0 0 0 1
i see none . = yes | 1 0 0 0 0
is there a blue star ?
i see none . i see one @tl . = no | 2 0 1 0 -
where is the red square relative to the red star ?
the red square is @tl . the red star is @mr . = left | 2 0 2 1 1
the red square is @tl . the red star is @mr . = below | 2 0 2 1 0
the red square is @tl . the red star is @tr . = above | 2 0 1 0 0
the red square is @tl . = left | 1 0 1 1 -
one @tl . = left | 1 1 0 - -
where is the red square relative to the blue circle ?
the red square is @tl . the blue circle is @tl . = left | 2 0 2 1 -
"""


def cases():
    question = ""
    for line in SAID.strip().splitlines():
        if line in ASKED:
            question = line
        else:
            said, wanted = line.split(" | ")
            text = " ".join(SHORT.get(word, word) for word in said.split())
            yield question, text, [float(n.replace("-", "nan")) for n in wanted.split()]


@pytest.mark.parametrize(("question", "text", "wanted"), cases())
def test_slips_by_hand(question, text, wanted):
    kind, about, value = ASKED[question]
    row = {"kind": kind, "form": "rationale", "value": value}
    row |= {"choices": list(q.CHOICES[kind]), "truth": json.dumps(SCENE | {"about": about})}
    found = coherence.judged(pd.DataFrame([row]), [text]).iloc[0].tolist()
    assert found == pytest.approx(wanted, nan_ok=True)


@pytest.mark.parametrize(
    "text",
    [
        "the is at the top left",
        "the red square is at the left",
        "the red square is at the top left corner",
        "it is a",
        "it is top",
        "i see",
        "that is common knowledge",
        "one",
    ],
)
def test_what_is_not_a_sentence_of_the_world_is_unread(text):
    assert coherence.claim(text.split()) is None


def test_only_rationales_are_judged(references):
    found = coherence.judged(references.assign(form="answer"), references["response"].tolist())
    assert found.isna().all(None)
    assert coherence.figures(found.assign(lenient=1)) == {}


def test_figures_by_hand():
    rows = pd.DataFrame(
        [
            [2, 0, 2, 1, 1, 1],
            [2, 0, 2, 1, 0, 0],
            [2, 0, 1, 0, 1, 1],
            [2, 2, 0, np.nan, np.nan, 1],
            [0, 0, 0, np.nan, np.nan, 0],
            [np.nan, np.nan, np.nan, np.nan, np.nan, 1],
        ],
        columns=[*coherence.JUDGED, "lenient"],
    )
    assert coherence.figures(rows) == pytest.approx(
        {
            "open": 2 / 5,
            "judged": 3 / 5,
            "unread": 2 / 8,
            "true": 5 / 6,
            "follows": 2 / 3,
            "true_right": 1 / 3,
            "true_wrong": 1 / 3,
            "false_right": 1 / 3,
            "false_wrong": 0,
        }
    )
