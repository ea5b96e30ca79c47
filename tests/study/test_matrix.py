"""The page's strips: where they begin and end."""

import pytest

from steps.study.matrix import domain


def row(**arms):
    return {"arms": {name: {"seeds": dict(enumerate(values))} for name, values in arms.items()}}


def test_a_control_that_is_not_shown_does_not_stretch_the_axis():
    told = row(none=[60, 62], sft=[61, 64], shuffled=[40])
    assert domain(told, ["none", "sft"], 2.0) == (60, 64)
    assert domain(told, ["none", "shuffled"], 2.0) == (40, 62)


def test_an_axis_has_some_width_and_none_without_a_value():
    assert domain(row(none=[50.0, 50.2]), ["none"], 2.0) == pytest.approx((49.1, 51.1))
    assert domain(row(shuffled=[40]), ["none", "sft"], 2.0) == (0, 0)
