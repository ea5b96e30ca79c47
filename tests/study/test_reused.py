"""Re-used encoders on the page: ratios by hand, the original beside the arms, nothing invented."""

import json

import pytest

from steps.schema import Base
from steps.study import collect, device, instruments, reused, tables, written
from tests.study.conftest import finish, settings

ARMS = ("none", "sft")
RECIPE = {"tower": (1000, 8000, 4e9), "align": (100, 500, 1e8), "instruct": (400, 2500, 5e8)}


@pytest.fixture
def told(tmp_path):
    """Settings of two arms on two seeds, and the study's folders."""
    params = settings(seeds=(0, 1))
    params.arms = {name: params.arms[name] for name in ARMS}
    params.instruments = ["reuse"]
    root = tmp_path / "planted"
    finish(root / "base/bundled", {"parameters": 1})
    counted = {
        f"cost/{part}/{currency}": value
        for part, values in RECIPE.items()
        for currency, value in zip(reused.CURRENCIES, values, strict=True)
    }
    finish(root / "cost/bundled", counted)
    for seed in (0, 1):
        finish(root / f"items/seed{seed}", {})
        finish(root / f"pairs/bundled/seed{seed}", {})
        beside = {"original/reuse/lenient": 0.4 + seed / 100, "larger/reuse/lenient": 0.45}
        beside |= {"original/reuse/parameters": 3}
        finish(root / f"newcomers/bundled/seed{seed}", beside)
        for arm, gain in (("none", 0.1), ("sft", 0.12)):
            own = dict.fromkeys(("tokens", "reference_tokens", "rollout_tokens"), 100)
            own |= {"images": 250 + 100 * seed, "flops": 1e9}
            own = {f"budget/{k}": v if arm == "sft" else 0 for k, v in own.items()}
            place = root / f"model/bundled/{arm}/seed{seed}"
            finish(place, own)
            record = {"cpu_s": 30.0 + 10 * seed}
            place.with_name(f"{place.name}.record.json").write_text(json.dumps(record))
            answers = {"reuse/lenient": 0.4 + gain, "reuse/grey/lenient": 0.3}
            answers |= {"reuse/kind/color/lenient": 0.6, "reuse/loss/instruct": 0.5}
            finish(root / f"reuse/bundled/{arm}/seed{seed}", answers)
    inputs = {p.name: p for p in root.iterdir()}
    found = collect.collect(params, inputs)
    reused.price(found)
    return params, found, root


def test_ratios_by_hand(told):
    _, found, _ = told
    cost = {a: found.metrics["reuse", "bundled", a, 1] for a in ARMS}
    assert cost["none"]["reuse/cost/samples"] == 500 / 1000
    assert cost["sft"]["reuse/cost/samples"] == (500 + 350) / 1000
    assert cost["sft"]["reuse/cost/tokens"] == (3000 + 300) / 8000
    assert cost["sft"]["reuse/cost/flops"] == pytest.approx(1.6e9 / 4e9)


def test_the_original_and_a_larger_one_stand_beside_the_arms(told):
    params, found, _ = told
    groups = {g["title"]: g for g in tables.results(found, params, "bundled")}
    answers = groups["The encoder in a new model"]
    row = answers["rows"][0]
    assert row["baselines"]["original"]["seeds"] == pytest.approx({0: 40, 1: 41})
    assert row["baselines"]["larger"]["mean"] == pytest.approx(45)
    # Claim 22, by paired seeds: an arm minus the original encoder.
    assert row["arms"]["none"]["minus_original"]["mean"] == pytest.approx(9.5)
    assert row["arms"]["sft"]["minus_original"]["mean"] == pytest.approx(11.5)
    assert row["arms"]["sft"]["minus_none"]["mean"] == pytest.approx(2)
    assert "the control that the paper lacks" in answers["caption"]
    page = written.results([answers], list(params.arms))
    assert "| original | random | pixels | chance | larger |" in page
    assert "− original: +9.5" in page
    prices = groups["What the encoder cost"]["rows"]
    assert [r["metric"] for r in prices] == [f"reuse/cost/{c}" for c in reused.CURRENCIES]
    assert prices[0]["arms"]["sft"]["mean"] == pytest.approx((75 + 85) / 2)


def test_absolute_costs_are_in_the_table_of_costs(told):
    params, found, _ = told
    rows = {r["metric"]: r["arms"] for r in tables.costs(found, params, "bundled")}
    assert rows["reuse/spent/samples"] == {"none": 500, "sft": 800}


def test_device_time_by_hand(told):
    params, _, root = told
    recipe = {"tower": 2000.0, "align": 100.0, "instruct": 900.0}
    rows = device.seconds(root, "bundled", params, recipe)
    assert rows == [
        ["none", "2,000", "1,000", "0", "50.0 %"],
        ["sft", "2,000", "1,000", "35", "51.8 %"],
    ]


def test_nothing_is_invented_where_the_recipe_is_unknown(told):
    params, found, root = told
    del found.metrics["cost", "bundled", None, None]
    for place, values in found.metrics.items():
        if place[0] == "reuse":
            for currency in reused.CURRENCIES:
                del values[f"reuse/cost/{currency}"]
    reused.price(found)
    assert not any(n.startswith("reuse/cost") for n in found.names("bundled"))
    assert not any(r["metric"].startswith("reuse") for r in tables.costs(found, params, "bundled"))
    # A base from the hub has no such stages, and so misses none.
    params.bases = {"bundled": Base(source="hub", path="x")}
    found = collect.collect(params, {p.name: p for p in root.iterdir()})
    assert not any(place[0] in collect.LOCAL_STAGES for place in found.metrics)
    assert not any(name.startswith(("reuse", "newcomers", "cost")) for name in found.missing)


def test_what_is_missing_is_named(told):
    params, _, root = told
    given = {p.name: p for p in root.iterdir() if p.name not in ("newcomers", "cost")}
    missing = collect.collect(params, given).missing
    assert missing == ["cost/bundled", "newcomers/bundled/seed0", "newcomers/bundled/seed1"]


def test_without_it_there_is_no_table():
    titles = {g.title for g in instruments.groups({"vqa/lenient"})}
    assert not titles & {g.title for g in reused.groups(set())}
