"""Metrics are what their stages declare, and docs/metrics.md and the page say the same of them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from steps import codedeps
from steps.data.questions import FORMS
from steps.posttrain import budget, history
from steps.stage import STAGES
from steps.study import benchmarks, forgetting, glossary, instruments, lines, wording

ROOT = Path(__file__).parents[2]
LIKELY = {"site": "residual.2", "parts": "010", "n": "1", "share": "0.5", "order": "x"}
LIKELY |= {"layer": "layer1", "tokens": "all", "dictionary": "MF", "relation": "left"}
LIKELY |= {"axis": "vertical", "became": "keep", "case": "tenth", "rule": "paired"}
LIKELY |= {"place": "proj/", "view": "pca/layer1/"}
"""What may stand for some places of patterns; any word for the others."""


def examples():
    """A name, or some, of every declared pattern, with the stages that declare it."""
    for stage, metrics in glossary.declared().items():
        for pattern in metrics:
            for one in glossary.spread(pattern):
                yield re.sub(r"<(\w+)>", lambda m: LIKELY.get(m[1], m[1]), one), stage, pattern


def test_the_document_is_what_is_declared():
    written = (ROOT / "docs/metrics.md").read_text()
    assert written == glossary.page(), f"write it anew: {glossary.COMMAND}"
    assert "| `vqa/lenient` | share |" in written and "## sft, dpo, grpo" in written


def test_every_stage_declares_its_metrics_in_its_own_wing():
    by_wing = {wing.__name__: set(wing.METRICS) for wing in glossary.WINGS}
    for stage, module in STAGES.items():
        home = ".".join([*module.split(".")[:2], "metrics"])
        assert [name for name, stages in by_wing.items() if stage in stages] == [home], stage
    assert list(glossary.declared()) == list(STAGES)


def test_units_and_places_are_explained():
    for stage, metrics in glossary.declared().items():
        assert metrics, stage
        for pattern, told in metrics.items():
            unit, _, meaning = told.partition(": ")
            assert unit in glossary.UNITS and meaning, (pattern, told)
            assert "|" not in pattern + told, "it would end a cell of the table"
            assert set(re.findall(r"<(\w+)>", pattern)) <= set(glossary.PLACES), pattern
    used = {p for _, _, pattern in examples() for p in re.findall(r"<(\w+)>", pattern)}
    assert used == set(glossary.PLACES)


def test_a_name_fits_its_own_pattern_and_no_other_of_its_stage():
    for name, stage, pattern in examples():
        assert [p for s, p in glossary.fitting(name) if s == stage] == [pattern], name


@pytest.mark.parametrize(
    "name",
    [
        "vqa/lenient",
        "vqa/kind/color/lenient",
        "vqa/kind/my own kind/lenient",
        "compare/{site}/beyond/x",
        "compare/mlp.31/fvu/S_on_F/all",
        "classify/asked/shape/top1",
        "pca/layer3/classify/asked/shape/top1",
        "proj/segment/voc/iou/tv/monitor",
        "random/segment/shape/miou",
        "gaze/untrained/box/share/layer3",
        "gaze/lost/heads-random_heads/high",
        "train/last/rewards/margins",
        "dose/tower",
        "swap/margin/interaction/eye_language/se",
        "drift/align_gain_low/middle/k10",
        "benchmarks/pope/f1",
    ],
)
def test_known_names(name):
    assert glossary.known(name)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("vqa/lenientt", "vqa/lenient"),
        ("vqa/kind/color/lenien", "vqa/kind/color/lenient"),
        ("compare/{site}/byeond/x", "compare/{site}/beyond/x"),
        ("compare/{sites}/beyond/x", "compare/<site>/beyond/x"),
        ("compare/residual.2/beyond/z", "compare/residual.2/beyond/<order>"),
        ("compare/residual/beyond/x", "compare/<site>/beyond/x"),
        ("dose/towr", "dose/tower"),
        ("quality/{site}/fvu/rndom/F/all", "quality/{site}/fvu/random/F/all"),
        ("classify/asked/shape/top2", "classify/asked/shape/top1"),
        ("pca/layer3/classify/asked/shape/top2", "pca/layer3/classify/asked/shape/top1"),
        ("swap/lenient/0101", "swap/lenient/<parts>"),
        ("vqa.lenient", "vqa/lenient"),
    ],
)
def test_unknown_names_and_what_is_nearest(name, nearest):
    assert not glossary.known(name)
    assert glossary.nearest(name) == nearest


def test_what_trainings_log_is_declared():
    ends = history.ends([dict.fromkeys(history.CURVES, 1.0)])
    declared = {name for name, stage, _ in examples() if stage == "grpo"}
    assert {name for name in declared if name.startswith("train/")} == set(ends)
    assert {name for name in declared if name.startswith("budget/")} == set(budget.free())


def test_what_the_page_shows_is_declared():
    told = [*wording.COSTS, *(f"train/last/{name}" for name in wording.CURVES)]
    told += [f"vqa/coherence/{name}" for name in wording.COHERENCE]
    told += [f"vqa/far/coherence/{name}" for name in wording.FAR]
    told += [f"gaze/{name}" for name in wording.GAZE]
    told += [f"forget/color/{name}" for name in forgetting.MEASURES]
    told += [f"vqa/form/{form}/lenient" for form in FORMS]
    assert [name for name in told if not glossary.known(name)] == []


def test_the_page_finds_what_is_declared():
    """A figure of the page whose metric was renamed would be left out without a word."""
    names = {name for name, _, _ in examples()}
    found = lines.told(names)
    assert {one.line for one in found} == set(lines.lines())
    rows = [row for group in instruments.groups(names) for row in group.rows]
    assert len(rows) > 150
    shown = {n for row in rows for n in (*(row.mean_of or (row.metric,)), row.minus or row.metric)}
    assert {name for name in shown - names if not glossary.known(name)} <= {
        row.metric for row in rows if row.mean_of
    }
    assert benchmarks.groups(names)


def test_a_planted_study_has_no_other_metrics(study):
    _, inputs, _ = study(seeds=(0,))
    own = {"model": {"none", "sft", "dpo", "grpo"}}
    for folder, root in inputs.items():
        for path in root.rglob("metrics.json"):
            for name in json.loads(path.read_text()):
                stages = {stage for stage, _ in glossary.fitting(name)}
                assert stages & own.get(folder, {folder}), f"{folder}: {name}"


def test_declarations_are_light_and_only_the_report_reads_them():
    code = "import sys, steps.study.glossary; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "numpy", "pandas"} & set(done.stdout.split())
    declaring = {p.relative_to(ROOT).as_posix() for p in (ROOT / "steps").rglob("metrics.py")}
    assert declaring <= set(codedeps.files("steps.study.report"))
    for stage, module in STAGES.items():
        if stage != "report":
            assert not declaring & set(codedeps.files(module)), stage
