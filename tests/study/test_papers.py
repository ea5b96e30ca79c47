"""The papers' studies: each loads, can be counted before anything is fetched, and says why."""

import re
from pathlib import Path

import pytest

from steps.params import check, read_yaml
from steps.stage import StageError
from steps.study.costs import forecast, known, shapes
from steps.study.overlay import effective
from steps.study.plan import STUDIES, plan

PAPERS = sorted(
    path.stem for path in STUDIES.glob("*.yaml")
    if re.fullmatch(r"(pivot|atrl|diffing)_(first|full|stage1|reuse)", path.stem)
)  # fmt: skip
ROOT = Path(__file__).parents[2]
FITS = 1e15
"""Bytes of a disk on which everything has room."""


@pytest.fixture(autouse=True)
def _unwritten(monkeypatch):
    """Planning writes a study's effective params, of which this repository keeps others'."""
    monkeypatch.setattr("steps.study.plan.write", lambda path, text: None)


def test_each_paper_has_its_studies():
    assert {name.split("_")[0] for name in PAPERS} == {"pivot", "atrl", "diffing"}
    for paper in ("pivot", "atrl", "diffing"):
        assert {f"{paper}_first", f"{paper}_full"} <= set(PAPERS)


@pytest.mark.parametrize("study", sorted(path.stem for path in STUDIES.glob("*.yaml")))
def test_every_overlay_goes_with_the_schema(study):
    if study == "embedded":  # params.yaml's own
        assert not read_yaml(STUDIES / f"{study}.yaml")
        return
    params = check(effective(read_yaml(ROOT / "params.yaml"), study), study)
    assert params.study.name == study and "none" in params.arms


@pytest.mark.parametrize("study", PAPERS)
def test_every_section_of_a_paper_s_study_says_why(study):
    """A comment stands right above each section, and what deviates is told at the top."""
    bare, above = [], False
    text = (STUDIES / f"{study}.yaml").read_text()
    for line in text.splitlines():
        key = re.match(r"(\w+):", line)
        if key and not above and key[1] != "study" and not study.startswith(FIRST):
            bare.append(key[1])
        above = line.startswith("#")
    assert bare == []
    assert re.search(r"arXiv \d{4}\.\d{5}|\d{4}\.\d{5}", text) and "Deviations" in text


FIRST = ("pivot_first", "atrl_first")
"""Studies whose sources are told at the top, all together."""


def test_public_models_have_the_parameters_that_their_makers_tell():
    """Model cards and papers: billions with the tower, for whole models of images and text."""
    for name, billions in (("llava-hf/llava-onevision-qwen2-0.5b-si-hf", 0.894),
                           ("Qwen/Qwen2.5-VL-3B-Instruct", 3.75),
                           ("Qwen/Qwen2.5-VL-7B-Instruct", 8.29)):  # fmt: skip
        assert shapes.of(known.config(name), name).parameters / 1e9 == pytest.approx(
            billions, rel=0.01
        ), name
    assert known.config("somebody/else") is None


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("qwen2.5-0.5b-instruct", 0.494), ("qwen2.5-1.5b-instruct", 1.544),
        ("qwen2.5-3b-instruct", 3.086), ("qwen2.5-7b-instruct", 7.616),
        ("llama-3.1-8b-instruct", 8.030), ("clip-vit-large-patch14-336", 0.304),
        ("siglip2-so400m-patch16-384", 0.428), ("siglip2-base-patch16-224", 0.093),
    ],
)  # fmt: skip
def test_public_parts_have_the_parameters_that_their_makers_tell(name, billions):
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    config = known.config(name)
    kind = AutoModel if hasattr(config, "patch_size") else AutoModelForCausalLM
    with torch.device("meta"):
        model = kind.from_config(config)
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, rel=0.01)


def test_a_base_that_another_study_makes_has_that_one_s_shape():
    params = plan("pivot_full", ahead=True).params
    mine, theirs = shapes.shape(params, "so_1b5"), shapes.shape(
        plan("pivot_stage1", ahead=True).params, "so_1b5"
    )  # fmt: skip
    assert mine.sizes == theirs.sizes and mine.tokens == (384 // 16) ** 2
    assert known.made("results/pivot_full/model/so_1b5/dpo/seed0") == ("pivot_full", "so_1b5")
    assert known.made("models/results/base") is None
    with pytest.raises(StageError, match="study pivot_stage1 has no base none; give one"):
        shapes._maker("pivot_stage1", "none", "bases.x.path = 'y'")


@pytest.mark.slow
@pytest.mark.parametrize("study", PAPERS)
def test_a_paper_s_study_is_planned_before_anything_is_fetched(study):
    """It fits its GPU; a first study takes a day of one at most."""
    first = study.endswith("_first")
    gpu, count = ("h100", 1) if first else ("h100" if study.startswith("pivot") else "h200", 8)
    long = {"pivot": (100.0, 200.0), "atrl": (100.0, 500.0)}
    found = forecast.forecast(
        plan(study, ahead=True),
        forecast.device(gpu, count, 0.35),
        long.get(study.split("_")[0]),
        FITS,
    )
    assert found.refused == []
    assert found.hours > 0 and (found.hours < 24 or not first)
    assert not (ROOT / "results" / study / "data.json").exists()
