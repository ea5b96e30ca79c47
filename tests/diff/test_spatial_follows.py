"""Planted features of which it is known what they follow, read in all four ways."""

import numpy as np
import pytest

from steps.diff.relations import MIRROR, OPPOSITE
from steps.diff.space import follows

N = 240
RELATION = np.array(["left", "right", "above", "below"])[np.arange(N) % 4]
NAMES = ("relation", "order", "layout", "asked", "silent", "opposite")


def cells(seed=0, noise=0.1):
    """Features, in the order of NAMES: of the true relation left; of which object is named first;
    of what lies left whatever is asked; of the word `left` in an answer, whatever is shown; none;
    and of what is not true: `right`, on the question and in statements."""
    rng = np.random.default_rng(seed)
    named, lies = rng.random(N) < 0.5, rng.random(N) < 0.5
    made = {}
    for name, mirror, turned in (
        ("plain", False, False), ("mirrored", True, False),
        ("exchanged", False, True), ("both", True, True),
    ):  # fmt: skip
        truth = np.array([OPPOSITE[r] if turned else r for r in RELATION])
        truth = np.array([MIRROR[r] if mirror else r for r in truth])
        z = [truth == "left", named ^ turned, lies ^ mirror, 0 * named, 0 * named, truth == "right"]
        made[name] = np.stack(z, 1).astype(float)
    for name, word in (("true", RELATION), ("false", [OPPOSITE[r] for r in RELATION])):
        said = np.array(word) == "left"
        right = said & (name == "true")
        z = [right, 0 * said, 0 * said, said, 0 * said, said & (name == "false")]
        made[name] = np.stack(z, 1).astype(float)
    return {
        name: np.where(np.arange(len(NAMES)) == 4, 0, z + noise * rng.random(z.shape))
        for name, z in made.items()
    }


@pytest.fixture(scope="module")
def found():
    frame = follows.effects(cells(), RELATION, "left", np.random.default_rng(0))
    return frame.set_index(np.array(NAMES))


def test_a_feature_of_the_relation_follows_image_and_words(found):
    row = found.loc["relation"]
    assert row["mirrored_low"] > 1 and row["exchanged_low"] > 1
    assert row["follows_low"] > 0.9 and row["kind"] == "relation"
    assert row["moved"] > 5 * row["moved_control"]
    assert row["statement"] == 1 and row["stated_low"] > 0.4


@pytest.mark.parametrize(("name", "kind"), [("order", "words"), ("layout", "image")])
def test_one_of_words_or_of_layout_does_not_pass(found, name, kind):
    row = found.loc[name]
    assert row["follows_low"] < 0.1 and row["follows"] < 0.15 and row["kind"] == kind
    assert row["mirrored_low"] < 0.2


def test_one_of_an_answers_word_is_lexical(found):
    row = found.loc["asked"]
    assert row["word_low"] > 0.8 and row["word"] > 5 * abs(row["stated"])
    assert abs(row["mirrored"]) < 0.5 and row["kind"] != "relation"
    assert abs(row["statement"] - 0.5) < 0.15


def test_what_says_the_opposite_is_inverted(found):
    row = found.loc["opposite"]
    assert row["mirrored_high"] < -1 and row["follows"] < -0.9
    assert row["statement"] == 0 and row["stated_high"] < 0
    assert row["kind"] != "relation"


def test_a_silent_feature_has_no_effect_rather_than_none(found):
    row = found.loc["silent"].drop("kind").astype(float)
    assert np.isfinite(row).all() and row["mirrored"] == row["follows"] == 0
    assert row["statement"] == 0.5


def test_the_mirror_is_a_control_for_above_and_below():
    frame = follows.effects(cells(), RELATION, "above", np.random.default_rng(0))
    assert (frame["kind"] == "").all() and "follows" not in frame
    assert (frame["mirrored"].abs() < 0.35).all()


def test_intervals_hold_what_they_should():
    """Of 200 features of noise about one in twenty has an interval of `mirrored` without 0."""
    rng = np.random.default_rng(1)
    names = ("plain", "mirrored", "exchanged", "both", "true", "false")
    noise = {name: rng.random((N, 200)) for name in names}
    frame = follows.effects(noise, RELATION, "left", rng)
    outside = (frame["mirrored_low"] > 0) | (frame["mirrored_high"] < 0)
    assert 0.01 <= outside.mean() <= 0.11
    assert (frame["kind"] == "relation").mean() <= 0.03


HALF = np.array(["select", "report"])[np.arange(N) // 4 % 2]


def weak(strength, seed):
    """Features of noise, the first ten with a little of the relation left in each reading."""
    rng = np.random.default_rng(seed)
    made = cells(seed)
    return {
        name: rng.random((N, 80)) + strength * (np.arange(80) < 10) * values[:, :1]
        for name, values in made.items()
    }


def test_pairs_find_what_auroc_between_scenes_cannot():
    """Noise that a scene keeps in all four readings cancels within it."""
    made = weak(0.25, 0)
    kept = 2 * np.random.default_rng(1).random((N, 80))
    parts = follows.paired({k: v + kept for k, v in made.items()}, RELATION, HALF, "left")
    t = [part.sum(0) for part in parts]
    assert (t[0][:10] > 3).mean() > 0.8 and (t[1][:10] > 3).mean() > 0.8
    assert (np.abs(t[0][10:]) > 3).mean() <= 0.03
    one = follows.paired(made, RELATION, HALF, "right")[0].sum(0)
    assert np.allclose(one, -follows.paired(made, RELATION, HALF, "left")[0].sum(0))


def test_pairs_are_not_taken_in_by_words_layout_or_silence():
    parts = follows.paired(cells(), RELATION, HALF, "left")
    t = dict(zip(NAMES, parts[0].sum(0), strict=True))
    assert t["relation"] > 6 and t["opposite"] < -6 and t["silent"] == 0
    assert max(abs(t[name]) for name in ("order", "layout", "asked")) < 3


def test_agreement_tells_weak_relations_from_none():
    rng = np.random.default_rng(0)
    for strength, low, high in ((0.15, 0.0, 0.05), (0.0, 0.05, 1.0)):
        parts = follows.paired(weak(strength, 4), RELATION, HALF, "left")
        rho, p = follows.agreement(parts, 99, rng)
        assert low <= p <= high, (strength, rho, p)
    none = [
        follows.agreement(follows.paired(weak(0, s), RELATION, HALF, "left"), 39, rng)[1]
        for s in range(5, 45)
    ]
    assert np.mean(np.array(none) <= 0.1) <= 0.25 and 0.3 < np.mean(none) < 0.7
