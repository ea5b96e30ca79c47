"""The page's names for metrics are those that the stages write, and its captions cover all."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from steps.behaviour import vqa
from steps.posttrain import budget, dose, history
from steps.study import captions, collect
from steps.study.instruments import groups
from steps.study.rows import PRIMARY
from steps.study.wording import COSTS, CURVES, FAR

CAPTIONS = Path(__file__).parents[2] / "workflow" / "report" / "page.rst"


def test_costs_are_named_as_training_names_them():
    assert set(COSTS) == set(budget.free()) | set(dose.nothing())


def test_curves_are_named_as_training_names_them():
    assert set(CURVES) <= set(history.CURVES)
    assert collect.CURVES == history.FILE


def test_every_lenient_figure_of_vqa_has_its_row():
    rows = [("vqa", k, f, n) for k in ("color", "glyph") for f in ("word",) for n in (True, False)]
    views = ("vqa_grey", "vqa_swapped", "vqa_far")
    rows += [(view, "color", "word", view == "vqa_far") for view in views]
    scored = pd.DataFrame(rows, columns=["instrument", "kind", "form", "novel"])
    scored["style"], scored["margin"] = "a", 0.5
    scored["lenient"] = scored["strict"] = scored["well_formed"] = 1
    scored[["statements", "unread", "true", "whole", "follows"]] = [2.0, 0.0, 2.0, 1.0, 1.0]
    names = set(vqa.summary(scored))
    shown = {row.metric for group in groups(names) for row in group.rows}
    wanted = {n for n in names if n.endswith("/lenient")} | {PRIMARY, "vqa/margin"}
    wanted |= {"vqa/ill_formed", "vqa/strict-lenient", "vqa/ladder/loss"}
    own = {n for n in names if n.startswith("vqa/coherence/")}
    assert len(own) == 9
    assert wanted | own | {f"vqa/far/coherence/{n}" for n in FAR} == shown


def test_a_new_label_and_a_new_tier_get_rows_by_themselves():
    names = {"classify/asked/shape/top1", "classify/asked/weight/top1", "classify/odd/smell/top1"}
    (group,) = groups(names | {"classify/asked/shape/penalty"})
    assert [row.metric for row in group.rows] == [
        "classify/asked",
        "classify/asked/shape/top1",
        "classify/asked/weight/top1",
        "classify/odd",
    ]
    assert group.rows[0].mean_of == ("classify/asked/shape/top1", "classify/asked/weight/top1")
    assert groups(set()) == []


def test_a_class_of_a_map_has_its_row_below_the_means():
    measures = ("miou", "miou_objects", "precision", "recall", "f1", "iou/ring", "iou/background")
    whole, classes = groups({f"segment/shape/{measure}" for measure in measures})
    assert [row.metric for row in whole.rows] == [f"segment/shape/{m}" for m in measures[:2]]
    assert [row.label for row in classes.rows if row.inner] == ["background", "ring"]
    assert [row.metric for row in classes.rows if not row.inner] == [
        f"segment/shape/{measure}" for measure in measures[2:5]
    ]


def test_each_caption_has_a_title():
    assert list(captions.TITLES) == list(captions.CAPTIONS)
    assert captions.title("rotation-bundled-seed0") == ("rotation of features", "bundled, seed0")


@pytest.mark.parametrize("kind", captions.CAPTIONS)
def test_snakemakes_report_has_the_pages_caption_for_each_picture(kind):
    jinja2 = pytest.importorskip("jinja2")
    assert CAPTIONS.read_text() == captions.template()  # make metrics writes it
    shown = SimpleNamespace(wildcards=SimpleNamespace(name=f"{kind}-b-seed0"))
    told = jinja2.Template(CAPTIONS.read_text()).render(snakemake=shown)
    assert " ".join(told.split()) == captions.CAPTIONS[kind]
