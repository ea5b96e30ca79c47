"""The real smoke study under each engine: the same files, and nothing left for the other to do."""

import json
import re

import pytest

from steps.study import glossary
from steps.study.dvc import CHECK
from tests import smoke

pytestmark = pytest.mark.slow


def test_both_engines_make_the_same_files(by_snakemake, by_dvc):
    one, other = smoke.manifests(by_snakemake), smoke.manifests(by_dvc)
    assert set(one) == set(other) and len(one) == len(sum(smoke.places(by_dvc).values(), []))
    files, others = smoke.hashes(one), smoke.hashes(other)
    assert len(files) > 3 * len(one)  # a file of its own, beside metrics.json, for each at least
    assert smoke.first_difference(files, others) == ""
    # Params, inputs and code too: what follows from them would otherwise be taken for changed.
    assert smoke.first_difference(one, other) == ""


@pytest.mark.parametrize("engine", ["snakemake", "dvc"])
def test_after_one_engine_the_other_has_nothing_to_do(engine, request):
    folder = request.getfixturevalue(f"by_{engine}")
    done = smoke.call(folder, "steps", "adopt", smoke.STUDY)
    results = len(smoke.manifests(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"adopted by both engines: {results} of {results} results" in done.stderr

    # DVC's own `check` looks at what lies outside the repository each time; nothing else is due.
    status = smoke.call(folder, "dvc", "status", "--json", smoke.PIPELINE)
    due = {f"{smoke.PIPELINE}:{CHECK}": ["always changed"]}
    assert status.returncode == 0 and json.loads(status.stdout) == due, status.stderr
    dry = smoke.call(folder, "dvc", "repro", "--dry", smoke.PIPELINE)
    assert dry.returncode == 0, dry.stderr
    assert re.findall(r"Running stage '.*:(\w+)", dry.stdout + dry.stderr) == [CHECK]
    dry = smoke.call(folder, "snakemake", "--dry-run")
    assert dry.returncode == 0 and "Nothing to be done" in dry.stdout + dry.stderr, dry.stdout


def test_every_metric_of_every_stage_is_declared(by_snakemake):
    lacking = []
    for out, facts in smoke.manifests(by_snakemake).items():
        names = json.loads((by_snakemake / smoke.RESULTS / out / "metrics.json").read_text())
        own = facts["stage"]
        lacking += [f"{own}: {n}" for n in names if own not in dict(glossary.fitting(n))]
    assert lacking == []


def test_snakemakes_own_report_holds_the_page_and_its_figures(by_snakemake, tmp_path):
    page = tmp_path / "report.html"
    done = smoke.call(by_snakemake, "snakemake", "--report", str(page))
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    for name in ("index.html", "differences-bundled", "curves-bundled", "maps-bundled"):
        assert name in text
