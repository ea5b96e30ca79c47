"""Effects of a 2^3 table: worked by hand, by an independent regression, and what they add up to."""

from itertools import product

import numpy as np
import pytest

from steps.behaviour import factorial

NAMES = ("tower", "projector", "language")


@pytest.fixture
def table():
    """Outcomes of five questions in all eight settings."""
    return np.random.default_rng(0).normal(size=(2, 2, 2, 5))


def test_the_pilot_plant_of_box_hunter_and_hunter():
    """Yields by temperature, concentration and catalyst (1978, chapter 10), effects as printed."""
    # Cells in reading order, the catalyst fastest.
    yields = np.array([60.0, 52, 54, 45, 72, 83, 68, 80]).reshape(2, 2, 2, 1)
    found = factorial.effects(yields, ["T", "C", "K"])
    printed = {"main/T": 23.0, "main/C": -5.0, "main/K": 1.5, "total": 20.0}
    printed |= {"interaction/T_C": 1.5, "interaction/T_K": 10.0, "interaction/C_K": 0.0}
    printed |= {"interaction/all": 0.5}
    assert {name: found[name].item() for name in printed} == printed
    assert factorial.contrasts(yields)[0, 0, 0, 0] == 2 * 64.25


def test_effects_are_twice_the_coefficients_of_a_regression(table):
    """Least squares on signs of -1 and +1 and their products, which knows no Yates."""
    signs = np.array(list(product((-1, 1), repeat=3)), float)
    sets = {f"main/{name}": [i] for i, name in enumerate(NAMES)}
    sets |= {"interaction/tower_projector": [0, 1], "interaction/tower_language": [0, 2]}
    sets |= {"interaction/projector_language": [1, 2], "interaction/all": [0, 1, 2]}
    design = np.stack([np.ones(8), *(signs[:, some].prod(1) for some in sets.values())], 1)
    slopes = np.linalg.lstsq(design, table.reshape(8, 5), rcond=None)[0][1:]
    found = factorial.effects(table, NAMES)
    assert set(sets) == {name for name in found if name.startswith(("main", "interaction"))}
    for name, slope in zip(sets, slopes, strict=True):
        np.testing.assert_allclose(found[name], 2 * slope, atol=1e-12)


def test_the_whole_gain_is_shared_out(table):
    found = factorial.effects(table, NAMES)
    total = table[1, 1, 1] - table[0, 0, 0]
    np.testing.assert_array_equal(found["total"], total)
    np.testing.assert_allclose(sum(found[f"shapley/{name}"] for name in NAMES), total)
    odd = sum(found[f"main/{name}"] for name in NAMES) + found["interaction/all"]
    np.testing.assert_allclose(odd, total)
    for name in NAMES:
        share = found[f"main/{name}"] + found["interaction/all"] / 3
        np.testing.assert_allclose(found[f"shapley/{name}"], share)


def test_tower_and_projector_as_one_part_have_the_sum_of_their_effects(table):
    """The 2^2 table of eye and language, worked apart."""
    found = factorial.effects(table, NAMES)
    pair = factorial.effects(table[[0, 1], [0, 1]], ["eye", "language"])
    eye = found["main/tower"] + found["main/projector"]
    np.testing.assert_allclose(pair["main/eye"], eye)
    both = found["interaction/tower_language"] + found["interaction/projector_language"]
    np.testing.assert_allclose(pair["interaction/all"], both)


def test_what_adds_up_has_no_interactions():
    gains = np.array([3.0, -1.0, 0.5])
    cells = np.array(list(product((0, 1), repeat=3))) @ gains
    found = factorial.effects(10 + cells.reshape(2, 2, 2, 1), NAMES)
    for name, gain in zip(NAMES, gains, strict=True):
        assert found[f"main/{name}"] == found[f"shapley/{name}"] == gain
    assert not any(value.any() for name, value in found.items() if "interaction" in name)


def test_a_pure_interaction_has_no_main_effects():
    """Better where tower and projector are of one model, worse where not: neither is the better."""
    table = np.empty((2, 2, 2, 1))
    for cell in product((0, 1), repeat=3):
        table[cell] = 1 if cell[0] == cell[1] else -1
    found = {name: value.item() for name, value in factorial.effects(table, NAMES).items()}
    assert found.pop("interaction/tower_projector") == 2
    assert set(found.values()) == {0}


def test_a_table_with_too_few_axes_is_refused(table):
    with pytest.raises(ValueError, match="no factorial"):
        factorial.effects(table[0], NAMES)


def test_errors_are_those_of_the_mean():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(2, 400)) * [[1.0], [3.0]]
    alone = factorial.errors(values, np.arange(400), rng)
    np.testing.assert_allclose(alone, values.std(1) / 20, rtol=0.08)
    assert (factorial.errors(np.ones((1, 9)), np.arange(9) // 2, rng) == 0).all()


def test_questions_that_share_an_image_tell_less():
    """Four copies of each question: the error is that of the questions, not of the copies."""
    rng = np.random.default_rng(2)
    values = np.repeat(rng.normal(size=(1, 100)), 4, 1)
    found = factorial.errors(values, np.repeat(np.arange(100), 4), rng)
    np.testing.assert_allclose(found, values.std() / 10, rtol=0.08)
    assert found > 1.7 * factorial.errors(values, np.arange(400), rng)
