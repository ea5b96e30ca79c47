"""Models in MLflow's registry: found by arm and seed, replaced with their weights, never copied."""

from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts

from steps import track
from steps.mirror.sync import sync
from steps.track import log
from tests.mirror.study import begin, client, runs


def trained(root, seed=0, arm="sft", stage="sft", weights="new", status="finished"):
    """A stage that leaves a model in the study's results."""
    final = root / "model" / "bundled" / str(arm or stage) / f"seed{seed}"
    final.mkdir(parents=True, exist_ok=True)
    (final / "weights").write_text(weights)
    about = {"arm": {"method": "sft", "seeds": [0, 1], "overrides": {"epochs": 2}}} if arm else {}
    begin(root, stage, arm=arm, seed=seed, out=final, final=final, about=about)
    log.model(final)
    track.finish(status, {}, {})
    return final


def versions(root, name="study.bundled.sft"):
    found = client(root).search_model_versions(f"name = '{name}'")
    return {version.version: version for version in found}


def test_a_model_is_found_by_arm_and_seed(root, monkeypatch):
    monkeypatch.chdir(root.parents[1])
    first, second = trained(root), trained(root, 1)
    dictionary = trained(root, 0, None, "dictionary")
    sync(root)
    mlflow = client(root)
    for name, seed, folder in [
        ("sft", 0, first),
        ("sft", 1, second),
        ("dictionary", 0, dictionary),
    ]:
        found = mlflow.get_model_version_by_alias(f"study.bundled.{name}", f"seed{seed}")
        assert found.source == str(folder)
        assert mlflow.get_run(found.run_id).data.tags["seed"] == str(seed)
        place = download_artifacts(f"models:/{found.name}@seed{seed}")
        assert (Path(place) / "weights").read_text() == "new"
    assert len(list(mlflow.search_registered_models())) == 2
    told = mlflow.get_registered_model("study.bundled.sft").description
    assert "Arm `sft`, on base `bundled`" in told and "`epochs` = 2" in told
    held = mlflow.get_registered_model("study.bundled.dictionary").description
    assert held.startswith("Dictionary: Fit ") and "Method" not in held
    assert not list(root.parents[1].glob("mlruns/**/weights"))


def test_a_new_attempt_takes_the_place_of_its_own_seed_alone(root):
    trained(root, weights="old")
    trained(root, 1)
    sync(root)
    client(root).set_registered_model_alias("study.bundled.sft", "best", 2)
    trained(root)
    for _ in range(2):  # the second time from the start: its notes are lost
        sync(root)
        assert sorted(versions(root)) == [2, 3]
        assert client(root).get_registered_model("study.bundled.sft").aliases == {
            "seed0": 3,
            "seed1": 2,
            "best": 2,
        }
        for path in (root / ".events").glob("mirrored-*.json"):
            path.unlink()
    [run] = [r for r in runs(root) if r.data.tags["seed"] == "0"]
    assert versions(root)[3].run_id == run.info.run_id


def test_what_did_not_finish_is_no_version(root):
    trained(root, status="failed")
    sync(root)
    assert versions(root) == {}


def test_a_clone_that_shares_the_store_keeps_its_versions(root, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    trained(root)
    sync(root)
    other = tmp_path / "clone" / "results" / "study"
    trained(other)
    sync(other)
    assert [Path(v.source).is_relative_to(other) for v in versions(root).values()].count(True) == 1
    assert len(versions(root)) == 2


def test_a_readers_description_stays(root):
    trained(root)
    sync(root)
    client(root).update_registered_model("study.bundled.sft", "Mine.")
    trained(root, 1)
    sync(root)
    assert client(root).get_registered_model("study.bundled.sft").description == "Mine."


@pytest.mark.parametrize("uri", ["http://127.0.0.1:5000", "https://a.b", "databricks://x"])
def test_a_server_is_not_asked(uri):
    from steps.mirror import models

    models.register(None, uri, "run", {}, "here", Path("model"))  # type: ignore[arg-type]
