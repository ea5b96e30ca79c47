"""Results through a DVC remote: pushed from one clone, pulled into another, taken by both engines.

On the stand-in; the clone keeps DVC's locks as a network file system needs them.
"""

import shutil
import subprocess

import pytest

from tests import toy
from tests.dag.test_changes import CHANGES, RESULTS

pytestmark = pytest.mark.slow

ME = ["-c", "user.name=me", "-c", "user.email=me@localhost"]


def git(folder, *words):
    subprocess.run(["git", *ME, *words], cwd=folder, check=True, capture_output=True)


def dvc(folder, *words):
    done = toy.call(folder, "dvc", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def pulled(adopted, tmp_path_factory):
    """A fresh clone of the adopted stand-in, with what `dvc pull` brings; nothing else was done."""
    top = tmp_path_factory.mktemp("remote")
    origin, clone = top / "origin", top / "clone"
    shutil.copytree(adopted, origin, symlinks=True)
    dvc(origin, "remote", "add", "-d", "store", str(top / "store"))
    assert "files pushed" in dvc(origin, "push")
    git(origin, "add", "-A")
    git(origin, "commit", "-qm", "A finished study")
    git(top, "clone", "-q", str(origin), str(clone))
    assert not (clone / "results").exists()
    for setting in (["core.hardlink_lock", "true"], ["core.site_cache_dir", str(top / "state")]):
        dvc(clone, "config", "--local", *setting)
    dvc(clone, "pull")
    return clone


def test_a_clone_that_pulled_and_adopted_has_nothing_to_do(pulled, snakemake_plans, dvc_changed):
    done = toy.call(pulled, "steps", "adopt")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"adopted by both engines: {RESULTS} of {RESULTS} results" in done.stderr
    dry = toy.call(pulled, "snakemake", "--dry-run")
    said = dry.stdout + dry.stderr
    assert "Nothing to be done" in said and "missing provenance" not in said
    assert dvc_changed(pulled) == set()
    changes = subprocess.run(
        ["git", "status", "--porcelain"], cwd=pulled, capture_output=True, text=True, check=True
    )
    assert changes.stdout == ""  # the same lock, and no setting of this machine's

    # Snakemake has records of its own now: without them a changed key would run nothing.
    pattern, new, readers, planned = CHANGES["grpo.beta"]
    text = (pulled / "params.yaml").read_text()
    toy.edit(pulled / "params.yaml", pattern, new)
    try:
        assert snakemake_plans(pulled) == (planned, readers)
        assert dvc_changed(pulled) == readers
    finally:
        (pulled / "params.yaml").write_text(text)


def test_what_was_damaged_on_the_way_is_not_adopted(pulled, tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(pulled, clone, symlinks=True)
    [told] = (clone / "results").glob("*/vqa/bundled/grpo/seed0/told.json")
    told.unlink()
    told.write_text("{}")
    done = toy.call(clone, "steps", "verify")
    assert done.returncode == 1
    assert f"{told.relative_to(clone)} holds 2 bytes" in done.stderr
    assert f"its input {told.parent.relative_to(clone)} is not in order" in done.stderr
