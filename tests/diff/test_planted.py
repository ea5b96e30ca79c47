"""The method on activations whose truth is known."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from steps.diff import planted
from steps.diff.turning import nulls, roc


def settings(seed):
    return SimpleNamespace(run=SimpleNamespace(seed=seed, threads=1))


def test_atoms_turn_by_what_is_asked_and_the_rest_stays():
    atoms, turned, x, y = planted.plant(3, 0.25, (30, 60), 64, 24, 500, 4, 0.0)
    assert turned.sum() == 16 and x.square().mean() == pytest.approx(1)
    others, none, same_x, same_y = planted.plant(3, 0.0, (0, 0), 64, 24, 500, 4, 0.0)
    assert torch.equal(atoms, others) and torch.equal(x, same_x) and torch.equal(same_x, same_y)
    assert not none.any()
    codes = torch.linalg.lstsq(atoms.T, x.T).solution.T  # not unique: more atoms than numbers
    torch.testing.assert_close(codes @ atoms, x, atol=1e-4, rtol=0)
    # a token without any turned atom is the same before and after
    moved = (x - y).norm(dim=1)
    assert (moved < 1e-5).any() and (moved > 0.1).any()
    # with a single atom a token the angle can be read off
    _, turned, x, y = planted.plant(3, 0.5, (30, 60), 4, 24, 4000, 0.2, 0.0)
    angle = torch.rad2deg(torch.acos(torch.cosine_similarity(x, y).clamp(-1, 1)))
    seen = angle[x.norm(dim=1) > 0]
    assert seen.max() < 60.1 and ((seen < 0.1) | (seen > 5)).all() and (seen > 30).sum() > 50


def features(**columns):
    frame = pd.DataFrame(columns)
    frame["alive"] = frame["recovered"] = frame["settled"] = True
    frame["atom"] = np.arange(len(frame))
    return frame


def test_rates_of_a_case_by_hand():
    """Ten features, four turned: three found, one false."""
    turned = np.arange(10) < 4
    took = np.isin(np.arange(10), [0, 1, 2, 9])
    frame = features(turned=turned, beyond=took, matched=took, paired=took)
    cosine = np.array([0.1, 0.2, 0.3, 0.95, 0.9, 0.99, 0.99, 0.99, 0.99, 0.5])
    frame["cosine"], frame["null"], frame["quantile"] = cosine, 0.99, cosine
    frame["excess"] = nulls.degrees(cosine) - nulls.degrees(0.99)
    frame.loc[3, "recovered"] = False
    found = roc.rates(frame, np.r_[turned, True])  # an eleventh atom that no feature is
    assert found["found/paired"] == 1 and found["found_any/paired"] == 0.75
    assert found["false/paired"] == found["false_any/paired"] == pytest.approx(1 / 6)
    assert found["precision_any/paired"] == 0.75
    assert found["atoms/paired"] == 3 / 5 and found["recovered"] == 3 / 5
    assert found["auroc/beyond"] == 1 and found["found_at_1/beyond"] == 1
    # of 24 pairs the cosine orders two wrongly: .95 comes after .9 and .5
    assert found["auroc_any/beyond"] == pytest.approx(22 / 24)
    assert found["auroc_any/paired"] == pytest.approx(22 / 24)
    assert found["found_at_1_any/matched"] == 0.75
    assert found["quarter"] == 1


def test_curves_rise_from_none_to_all():
    rng = np.random.default_rng(0)
    turned = rng.random(80) < 0.3
    angle = np.where(turned, 40, 10) + rng.normal(0, 12, 80)
    frame = features(turned=turned, cosine=np.cos(np.radians(angle)), null=np.cos(np.radians(9)))
    frame["quantile"], frame["excess"] = frame["cosine"], angle - 9
    frame.loc[:4, "settled"] = False
    for _, curve in roc.curves(frame).groupby(["rule", "features"]):
        assert list(curve["found"].iloc[[0, -1]]) == list(curve["false"].iloc[[0, -1]]) == [0, 1]
        assert (np.diff(curve["found"]) >= 0).all() and (np.diff(curve["false"]) >= 0).all()
    assert roc.curves(frame.assign(turned=False)).empty


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_what_was_planted_is_found(seed, tmp_path):
    metrics = planted.run(settings(seed), {}, tmp_path)
    assert all(math.isfinite(value) for value in metrics.values())
    told = {name.removeprefix("planted/"): value for name, value in metrics.items()}
    for case in ("tenth", "harder", "tenth_new", "harder_new"):
        assert not told[f"{case}/refused"] and told[f"{case}/recovered"] == 1
        for rule in ("beyond", "paired"):
            assert told[f"{case}/found/{rule}"] >= 0.85 and told[f"{case}/false/{rule}"] <= 0.015
            assert told[f"{case}/atoms/{rule}"] >= 0.85
            assert told[f"{case}/found_any/{rule}"] >= 0.6
            assert told[f"{case}/false_any/{rule}"] <= 0.05
            assert told[f"{case}/auroc/{rule}"] >= 0.98
        # a fixed share of the lowest cosines is mostly features that did not turn
        assert told[f"{case}/quarter"] <= 0.45
        assert told[f"{case}/precision_any/paired"] >= told[f"{case}/quarter"] + 0.3
    for case in ("nothing", "nothing_new"):
        assert told[f"{case}/false_any/beyond"] <= 0.03 and told[f"{case}/false_any/paired"] <= 0.01
        assert f"{case}/auroc/paired" not in told
    # tokens seen before hardly move the null, so that fresh noise alone is beyond its like
    assert told["nothing/false/matched"] > 0.08 > 0.03 > told["nothing_new/false/matched"]
    # what the gate lets pass early is told by the paired rule without false alarms
    assert not told["early/refused"] and told["early/found/paired"] >= 0.85
    assert told["early/false/paired"] <= 0.015
    assert told["undertrained/refused"]
    table = pd.read_parquet(tmp_path / "features.parquet")
    assert set(table["case"]) == set(planted.CASES)
    assert {"rule", "features", "found", "false", "null"} < set(
        pd.read_parquet(tmp_path / "roc.parquet").columns
    )
    with Image.open(tmp_path / "roc.png") as picture:
        picture.load()
        assert picture.size[0] > 1000


def test_the_stage_is_a_function_of_its_seed(tmp_path, monkeypatch):
    short = {"tenth": (0.1, (45, 45), 12, planted.RATE, True)}
    monkeypatch.setattr(planted, "CASES", short)
    seen = []
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        seen.append(planted.run(settings(seed), {}, tmp_path / name))
    assert seen[0] == seen[1] != seen[2]
    for name in ("features.parquet", "roc.parquet", "roc.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
