"""Rules at equal cost: a dearer rule's curve is cut where the cheaper run has ended."""

import json

import pytest

from steps.study import clock

LINE = [[step, step / 100] for step in range(5, 65, 5)]


def study(folder, costs, hosts=("a", "a")):
    """Two rules whose rewards rise alike, in one seed; returns what a summary says of them."""
    for arm, cost, host in zip(("plain", "dear"), costs, hosts, strict=True):
        place = folder / "model" / "b" / arm / "seed0"
        place.mkdir(parents=True)
        (place / "curves.json").write_text(json.dumps({"reward": LINE}))
        record = {"host": host, "cpu_s": cost}
        place.with_name("seed0.record.json").write_text(json.dumps(record))
    rows = [{"one": "vppo", "other": "uniform", "measure": "reward"}]
    arms = {"uniform": "plain", "vppo": "dear"}
    return {"credit": {"b": {"rows": rows, "arms": arms, "seeds": [0]}}}


def test_equal_curves_at_equal_cost_differ_by_nothing(tmp_path):
    told = clock.told(study(tmp_path, (50, 50)), tmp_path, "b", 0.95)
    assert told == [["vppo", "uniform", "1.00", "0.00", "1.000"]]


def test_a_rule_twice_as_dear_is_read_half_way(tmp_path):
    (row,) = clock.told(study(tmp_path, (50, 100)), tmp_path, "b", 0.95)
    assert row[2] == "2.00"
    assert float(row[3].replace("−", "-")) == pytest.approx(-30, abs=0.01), "30 of 60 steps"
    assert "vppo" in clock.section([row]) and clock.section([]) == ""


def test_runs_of_two_machines_are_not_compared(tmp_path):
    assert clock.told(study(tmp_path, (50, 90), ("a", "b")), tmp_path, "b", 0.95) == []


def test_where_nothing_was_recorded_nothing_is_told(tmp_path):
    summary = study(tmp_path / "other", (50, 90))
    assert clock.told(summary, tmp_path, "b", 0.95) == []
    assert clock.told({"credit": {"b": {}}}, tmp_path, "b", 0.95) == []
