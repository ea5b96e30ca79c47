"""Controls beside each other: equal footing, paired differences, refusals."""

import shutil

import numpy as np
import pandas as pd
import pytest

from steps.diff import controls
from steps.diff.turning.site import gate


@pytest.fixture(scope="module")
def three(base, tmp_path_factory):
    """What stage `tuned` leaves, of models at hand: `told` is the aligned model as it was."""
    folder = tmp_path_factory.mktemp("tuned")
    for which, source in (("seen", "instruct"), ("told", "aligned"), ("shuffled", "instruct")):
        shutil.copytree(base / source, folder / which)
    return folder


def test_each_control_beside_the_same_null(carried, three, tmp_path):
    given, params = carried
    metrics = controls.run(params, {**given, "tuned": three}, tmp_path)
    again = controls.rescored(params, {}, tmp_path, tmp_path)
    assert again == {k: v for k, v in metrics.items() if "/moved" not in k}
    table = pd.read_parquet(tmp_path / "controls.parquet")
    assert set(table["which"]) == {"seen", "told", "shuffled", "instruct"}
    null = [rows["cosine_null"].to_numpy() for _, rows in table.groupby("which")]
    assert all((one == null[0]).all() for one in null)
    kept = {which: rows.reset_index(drop=True) for which, rows in table.groupby("which")}
    # the aligned model has not changed: its continuation is the null
    assert (kept["told"]["cosine"] == kept["told"]["cosine_null"]).all()
    # the same model gives the same, and `seen` is here the instruct model itself
    assert (kept["seen"]["cosine"] == kept["shuffled"]["cosine"]).all()
    assert (kept["seen"]["cosine"] == kept["instruct"]["cosine"]).all()
    for site in gate(given["dictionary"]):
        assert metrics[f"controls/{site}/told/moved"] == 0 < metrics[f"controls/{site}/seen/moved"]
        assert metrics[f"controls/{site}/seen/beyond"] > 0.2
        gap = f"controls/{site}/seen_over_told/beyond"
        assert metrics[gap] > 0.2 and 0 < metrics[f"{gap}/low"] < metrics[gap]
        assert metrics[f"controls/{site}/seen_over_shuffled/beyond"] == 0
    assert np.isfinite(list(metrics.values())).all()


def rows(verdicts, count=400, unsettled=()):
    """A site's table: which -> the number of features beyond, counted from the first."""
    frames = []
    for which, beyond in verdicts.items():
        frame = pd.DataFrame({"feature": np.arange(count), "which": which})
        frame["settled"] = ~frame["feature"].isin(unsettled)
        frame["beyond"] = frame["paired"] = (frame["feature"] < beyond) & frame["settled"]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def test_differences_are_paired_over_features():
    table = rows({"seen": 60, "told": 20, "shuffled": 60, "instruct": 100})
    found = controls.contrasts(table, 0)
    assert found["seen/in_all/beyond"] == pytest.approx(0.15)
    assert found["seen_over_told/beyond"] == pytest.approx(0.1)
    assert found["seen_over_told/beyond/low"] > 0.06 and found["seen_over_told/beyond/high"] < 0.14
    # the same features on both sides: nothing to doubt, although both shares are uncertain
    same = [found[f"seen_over_shuffled/beyond{end}"] for end in ("", "/low", "/high")]
    assert same == [0, 0, 0]
    wide = found["instruct_over_told/paired/high"] - found["instruct_over_told/paired/low"]
    assert 0.05 < wide < 0.1  # about 4 sqrt(.2 * .8 / 400)


def test_only_features_settled_for_all_are_compared():
    table = rows({"seen": 60, "told": 20, "shuffled": 60, "instruct": 100})
    table.loc[(table["which"] == "told") & (table["feature"] >= 100), "settled"] = False
    found = controls.contrasts(table, 0)
    assert found["settled_in_all"] == 100 and found["seen/in_all/beyond"] == pytest.approx(0.6)


def test_few_features_give_no_number():
    table = rows({"seen": 5, "told": 2, "shuffled": 5, "instruct": 5}, unsettled=range(15, 400))
    assert controls.contrasts(table, 0) == {"settled_in_all": 15}
