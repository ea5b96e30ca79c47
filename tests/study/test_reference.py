"""The committed reference study: its verdicts once more, from its answers item by item."""

import io
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steps.behaviour import vqa
from steps.study import pool, share
from steps.study.claims import judge, registry

HOUSE = Path(__file__).parents[2]
FOLDER = HOUSE / "docs" / "results"
STUDIES = sorted(path.name.removesuffix(".tar.gz") for path in FOLDER.glob("*.tar.gz"))
assert STUDIES, f"{FOLDER} has lost the reference study"


def answered(items):
    """Metrics of `vqa`, after every answer is held against the truth once more."""
    right = (items["answer"] == items["value"]).astype(int)
    assert (right == items["lenient"]).all()
    assert (items["strict"] <= items["lenient"]).all()
    return vqa.summary(items)


def classified(items, recorded):
    """Top-1 of every probe, from what it calls each image and what it is."""
    found = {}
    for instrument, rows in items[items["truth"].notna()].groupby("instrument"):
        head, _, label = str(instrument).partition("classify/")
        names = [n for n in recorded if re.fullmatch(f"{head}classify/[a-z_]+/{label}/top1", n)]
        right = rows["raw"] == rows["truth"]
        assert (right == (rows["lenient"] > 0.5)).all()
        found |= dict.fromkeys(names, float(right.mean()))
    return found


def segmented(items):
    """Figures of every kind of map, from each image's true and false pixels by class."""
    found = {}
    for name, rows in items.groupby("instrument"):
        if str(name).endswith("/patch"):  # scored patch by patch: other figures
            continue
        counts = defaultdict(lambda: np.zeros(3, int))
        for one in map(json.loads, rows["raw"]):
            for label, three in one.items():
                counts[label] += three
        classes = [label for label, three in counts.items() if three.sum()]
        iou = {label: counts[label][0] / counts[label].sum() for label in classes}
        found[f"{name}/miou"] = float(np.mean(list(iou.values())))
        objects = [value for label, value in iou.items() if label != "background"]
        found[f"{name}/miou_objects"] = float(np.mean(objects))
        found |= {f"{name}/iou/{label}": float(value) for label, value in iou.items()}
    return found


def again(study):
    """For each result with answers: (stage, base, arm, seed), and its metrics by its items."""
    files = share.opened(FOLDER / f"{study}.tar.gz")
    for path, data in files.items():
        folder, _, name = path.rpartition("/")
        stage = folder.partition("/")[0]
        if name != "items.parquet" or stage not in ("vqa", "classify", "segment"):
            continue
        facts, recorded = (
            json.loads(files[f"{folder}/{file}"]) for file in ("manifest.json", "metrics.json")
        )
        items = pd.read_parquet(io.BytesIO(data))
        if stage == "classify":
            found = classified(items, recorded)
        else:
            found = (answered if stage == "vqa" else segmented)(items)
        yield (stage, facts["base"], facts["arm"], facts["seed"]), recorded, found


def compared(told, committed):
    """Asserts that two sets of judged claims say the same."""
    assert len(told["rows"]) == len(committed["rows"]) > 90
    for one, other in zip(told["rows"], committed["rows"], strict=True):
        assert (one["paper"], one["id"]) == (other["paper"], other["id"])
        assert one["verdict"] == other["verdict"], one["id"]
        if one.get("estimate"):
            assert one["estimate"] == pytest.approx(other["estimate"], abs=1e-9), one["id"]


@pytest.mark.parametrize("study", STUDIES)
def test_committed_verdicts_follow_from_committed_items(study, monkeypatch):
    monkeypatch.chdir(HOUSE)
    found, params = pool.joined({study: (FOLDER / f"{study}.tar.gz", None)})
    counted = 0
    for where, recorded, metrics in again(study):
        assert len(metrics) > 2, where
        for name, value in metrics.items():
            assert recorded[name] == pytest.approx(value, abs=1e-9), (where, name)
        found.metrics[where] |= metrics
        counted += 1
    assert counted > 100
    told = judge.told(found, params[study], registry.read())
    files = share.opened(FOLDER / f"{study}.tar.gz")
    compared(told, json.loads(files["report/summary.json"])["claims"])


def test_the_committed_pool_follows_from_the_committed_studies(monkeypatch):
    monkeypatch.chdir(HOUSE)
    found, every = pool.joined({study: (FOLDER / f"{study}.tar.gz", None) for study in STUDIES})
    told = judge.told(found, pool.together(every), registry.read())
    committed = json.loads((FOLDER / "pooled" / "summary.json").read_text())
    assert list(committed["studies"]) == STUDIES
    compared(told, committed["claims"])
