"""A base of `source: train`: the real recipe as stages, tiny; a changed key runs what reads it."""

import pytest

from steps import manifest
from steps.models import load
from steps.study.bundle import PARTS
from tests import smoke, toy

pytestmark = pytest.mark.slow

SMALL = """\
bases: {bundled: null, made: {source: train}}
world: {canvas: 48, objects: [1, 2]}
recipe:
  model:
    {tower_width: 16, tower_layers: 1, tower_heads: 2, width: 24, layers: 3, heads: 3,
     feed_forward: 32}
  tower: {steps: 2, batch: 2}
  language: {steps: 2, batch: 2}
  align: {steps: 2, batch: 2}
  instruct: {steps: 2, batch: 2}
  practise: {steps: 2}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = smoke.copy(tmp_path_factory.mktemp("made") / "study")
    (folder / "workflow/studies/made.yaml").write_text(SMALL)
    done = call(folder, "snakemake", "bases", "--cores", "2", "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def call(folder, *command):
    return toy.call(folder, *command, SIGHTLINE_STUDY="made")


def test_a_made_base_is_a_base_like_any_other(made):
    results = made / "results/made"
    for part in PARTS:  # each stage is kept
        manifest.check(results / part / "made")
    manifest.check(results / "base/made")
    before, after = (load.vlm(results / "base/made" / p) for p in ("aligned", "instruct"))
    assert before.config.text_config.hidden_size == 24
    same = [a.equal(b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert not all(same)
    assert load.processor(results / "base/made/instruct").image_processor.size["height"] == 48
    done = call(made, "snakemake", "bases", "--cores", "1")
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("key", "planned"),
    [
        ("instruct", ["instruct", "trained"]),
        ("language", ["language", "align", "instruct", "trained"]),
        ("tower", ["tower", "align", "instruct", "trained"]),
    ],
)
def test_a_changed_part_runs_itself_and_what_follows(made, key, planned, snakemake_plans):
    overlay = made / "workflow/studies/made.yaml"
    toy.edit(overlay, rf"^  {key}: {{steps: 2", f"  {key}: {{steps: 3")
    try:
        found, direct = snakemake_plans(made, "bases", SIGHTLINE_STUDY="made")
    finally:
        overlay.write_text(SMALL)
    assert set(found) == set(planned) and direct == {key}
