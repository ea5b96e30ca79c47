"""The table of forgetting has a row for every figure of the stage, and none without it."""

import pandas as pd

from steps.behaviour import forget
from steps.study import instruments


def test_every_share_has_its_row_and_only_the_gaps_of_labels_have_none():
    scored = pd.DataFrame({"kind": ["shape", "category"], "lenient": [1, 0], "probe_right": [0, 1]})
    scored["answer"] = ["ring", None]
    names = set(forget.summary(scored))
    (group,) = instruments.groups(names)
    assert group.title.startswith("Forgetting")
    shown = {row.metric for row in group.rows}
    assert names - shown == {"forget/shape/gap", "forget/category/gap"}
    chances = {row.chance for row in group.rows if row.metric == "forget/category/said"}
    assert chances == {"classify/asked/category/chance"}


def test_without_it_there_is_no_table():
    titles = [g.title for g in instruments.groups({"vqa/lenient", "classify/asked/shape/top1"})]
    assert not any(title.startswith("Forgetting") for title in titles)
