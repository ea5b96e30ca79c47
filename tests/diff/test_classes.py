import numpy as np

from steps.diff.turning.classes import CLASSES, classes, moved


def test_one_word_each():
    yes, no = True, False
    cases = {  # first, was, now, absent, settled, turned, moved
        "emerge": (no, no, yes, yes, no, no, no),
        "vanish": (yes, yes, no, no, no, no, no),
        "dead": (yes, no, no, no, no, no, no),
        "unsettled": (no, no, yes, no, no, no, yes),
        "reorient": (yes, yes, yes, no, yes, yes, yes),
        "reuse": (yes, yes, yes, yes, yes, no, yes),
        "keep": (yes, yes, yes, no, yes, no, no),
    }
    found = classes(*np.array(list(cases.values())).T)
    assert list(found) == list(cases) and tuple(found.categories) == CLASSES
    # born between the first dictionary and the parent: new to the model all the same
    assert list(classes(*np.array([[no, yes, yes, yes, yes, no, no]]).T)) == ["emerge"]


def test_what_moved_did_so_beyond_the_null_and_by_a_tenth():
    before = np.full(60, 0.5)
    null = before + np.linspace(-0.02, 0.02, 60)
    after = before.copy()
    after[:4] = [0.55, 0.7, 0.2, np.nan]
    settled = np.ones(60, bool)
    shift, drift = moved(before, after, null, settled)
    assert list(np.flatnonzero(shift)) == [1, 2] and not drift.any()
    wide = before + 12 * (null - before)  # up to .24
    shift, drift = moved(before, after, wide, settled)
    assert list(np.flatnonzero(shift)) == [2] and drift.sum() <= 2
    assert not moved(before, after, null, np.arange(60) < 5)[0].any()
