"""Scores of maps against masks: cases worked by hand, and maps that say nothing."""

import numpy as np
import pytest

from steps.encoder import pointing

MASK = np.array([[True, True, False, False]])


def one(map_, mask=MASK):
    return {name: value[0] for name, value in pointing.scores(np.array([map_]), mask).items()}


def test_scores_of_a_map_worked_by_hand():
    found = one([4.0, 1.0, 3.0, 0.0])
    # Thresholds 4, 3, 1, 0: intersections 1, 1, 2, 2; unions 2, 3, 3, 4.
    share = np.array([4, 1, 3]) / 8
    assert found == pytest.approx(
        {
            "pointing": 1,
            "energy": 5 / 8,
            "area": 0.5,
            "enrichment": 5 / 4,
            "elsewhere": 1,  # there is no other question
            "iou": 2 / 3,
            "entropy": -(share * np.log(share)).sum() / np.log(4),
        }
    )


def test_ties_are_averaged_and_stay_together():
    assert one([2.0, 0.0, 2.0, 2.0])["pointing"] == pytest.approx(1 / 3)
    # The two highest are equal: no threshold has the first without the third.
    assert one([2.0, 1.0, 2.0, 0.0])["iou"] == pytest.approx(2 / 3)
    assert one([2.0, 0.0, 2.0, 0.0])["iou"] == pytest.approx(1 / 2)


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_an_even_map_scores_the_area(level):
    """Zero everywhere included: it points nowhere."""
    mask = np.array([[True, False, False, False, False]])
    found = one([level] * 5, mask)
    for name in ("pointing", "energy", "iou", "area"):
        assert found[name] == pytest.approx(0.2)
    assert found["enrichment"] == pytest.approx(1) and found["entropy"] == pytest.approx(1)


def test_a_map_that_is_the_mask_scores_one():
    found = one([1.0, 1.0, 0.0, 0.0])
    assert found["pointing"] == found["energy"] == found["iou"] == 1
    assert found["enrichment"] == 2 and found["entropy"] == pytest.approx(0.5)


def test_elsewhere_is_enrichment_in_the_others_masks():
    inside = np.array([[True, False, False, False], [False, True, True, False], [True] * 4])
    maps = np.array([[2.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0], [4.0, 0.0, 0.0, 0.0]])
    found = pointing.scores(maps, inside)["elsewhere"]
    assert found == pytest.approx([((1 / 4) / 0.5 + 1) / 2, (0 + 1) / 2, (4 + 0) / 2])


def test_noise_scores_the_area_and_the_shuffled_iou():
    rng = np.random.default_rng(0)
    maps, inside = rng.random((4000, 16)), np.zeros((4000, 16), bool)
    inside[:, :3] = True
    found = pointing.scores(maps, inside)
    assert found["pointing"].mean() == pytest.approx(3 / 16, abs=0.02)
    assert found["enrichment"].mean() == pytest.approx(1, abs=0.02)
    assert found["elsewhere"].mean() == pytest.approx(1, abs=0.02)
    drawn = pointing.chance(maps, inside, rng, rounds=3).mean()
    assert drawn == pytest.approx(found["iou"].mean(), abs=0.01)
    assert drawn > 3 / 16 + 0.1  # the best threshold flatters any map


def test_best_iou_equals_a_search_over_all_thresholds():
    rng = np.random.default_rng(1)
    maps, inside = rng.integers(0, 5, (50, 12)).astype(float), rng.random((50, 12)) < 0.3
    inside[:, 0] = True
    for map_, mask, told in zip(maps, inside, pointing.best_iou(maps, inside), strict=True):
        each = [((map_ >= t) & mask).sum() / ((map_ >= t) | mask).sum() for t in set(map_)]
        assert told == pytest.approx(max(each))


def test_negative_and_infinite_maps_are_refused():
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="negative or not finite"):
            one([1.0, wrong, 0.0, 0.0])


def test_patches_that_an_object_fills_to_a_quarter():
    masks = np.zeros((3, 8, 8), bool)
    masks[0, 0:2, 0:4] = True  # half of the first patch, half of the second
    masks[0, 4:5, 0:1] = True  # a sixteenth of another: not the object's
    masks[1, 7, 7] = True  # nowhere a quarter: the fullest
    masks[2, 2:6, 2:6] = True  # across a corner: a quarter of each of four
    found = pointing.patches(masks, 2).tolist()
    assert found == [[True, False, False, False], [False, False, False, True], [True] * 4]
    with pytest.raises(ValueError, match="mask 1 is empty"):
        pointing.patches(masks * np.array([1, 0, 1], bool)[:, None, None], 2)


def test_patches_need_not_divide_the_image():
    mask = np.zeros((1, 8, 8), bool)
    mask[0, :4] = True  # of three rows of patches the first and half of the second
    assert pointing.patches(mask, 3)[0].tolist() == [True] * 6 + [False] * 3


def test_alike_equals_scipy():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(2)
    maps, others = rng.integers(0, 9, (2, 6, 20))
    found = pointing.alike(maps, others)
    for one, other, told in zip(maps, others, found, strict=True):
        assert told == pytest.approx(spearmanr(one, other).statistic)
    assert pointing.alike(maps, maps**3) == pytest.approx(1)
    assert (pointing.alike(maps, np.ones(maps.shape)) == 0).all()
