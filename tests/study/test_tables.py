import pytest

from steps.study import matrix, tables
from steps.study.collect import Found
from steps.study.markup import shown
from tests.study.conftest import settings


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


def test_a_pair_of_contrasts_is_in_every_cell_of_its_first_arm():
    found, params = Found(), settings()
    params.contrasts = [["grpo", "dpo"]]
    for arm, right in (("none", 0.5), ("dpo", 0.52), ("grpo", 0.55)):
        for seed in params.seeds:
            found.metrics["vqa", "bundled", arm, seed] = {"vqa/lenient": right + 0.001 * seed}
    groups = tables.results(found, params, "bundled")
    row = next(r for g in groups for r in g["rows"] if r["metric"] == "vqa/lenient")
    assert row["arms"]["grpo"]["minus_dpo"]["mean"] == pytest.approx(3)
    assert "minus_grpo" not in row["arms"]["dpo"] and "minus_dpo" not in row["arms"]["none"]
    assert "<i>− dpo</i>" in matrix.cell(row, "grpo", (0, 100), False, 1)
    assert "grpo − dpo" in tables.headline(found, params)["by_arm"]
