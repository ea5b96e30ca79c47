import pytest

from steps.study import tables
from steps.study.markup import shown


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "–"),
        (0, "0"),
        (70.0, "70"),
        (240_000, "240\u2009000"),
        (4.1e12, "4.10·10¹²"),
        (0.0201, "0.020"),
        (-1.234, "−1.23"),
        (66.66, "66.7"),
        (3e-5, "3.0e−05"),
    ],
)
def test_numbers_for_people(value, told):
    assert tables.number(value) == told


def test_points_have_a_true_minus_and_no_negative_zero():
    assert shown(-0.04, signed=True) == "0.0"
    assert shown(-1.26, signed=True) == "−1.3" and shown(1.26, signed=True) == "+1.3"
    assert shown(1.256, fine=True) == "1.26"


def test_markdown_keeps_hostile_text_in_its_cell():
    told = tables.markdown(["", "a"], [["<img src=x>|`b`", "1\n2"]])
    assert told.splitlines()[2] == "| &lt;img src=x&gt;\\|'b' | 1 2 |"


def test_differences_are_paired_by_seed():
    told = tables.minus({0: 5.0, 1: 7.0, 9: 100.0}, {1: 4.0, 0: 4.0, 3: 0.0}, 0.95)
    assert (told["mean"], told["n"]) == (2.0, 2)
    assert tables.minus({0: 1.0}, {1: 1.0}, 0.95)["n"] == 0
