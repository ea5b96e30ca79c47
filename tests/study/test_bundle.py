"""A trained base is taken over whole, or not at all."""

import json

import pytest

from steps.models.fit import CHECKABLE
from steps.stage import StageError
from steps.study.bundle import PARTS, bundle


@pytest.fixture
def results(tmp_path):
    for number, part in enumerate(PARTS):
        folder = tmp_path / "results" / part / "b"
        folder.mkdir(parents=True)
        (folder / "losses.json").write_text(json.dumps([float(number)] * 30))
        (folder / "manifest.json").write_text("{}")
        (folder / "model.safetensors").write_text(part)
    return tmp_path / "results"


def test_weights_and_first_losses_are_taken(results, tmp_path):
    (tmp_path / "models" / "b" / "instruct").mkdir(parents=True)
    (tmp_path / "models" / "b" / "instruct" / "old.json").touch()
    target = bundle(results, "b", tmp_path / "models")
    found = {p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()}
    assert found == {"aligned/model.safetensors", "instruct/model.safetensors", "recipe.json"}
    assert (target / "aligned" / "model.safetensors").read_text() == "align"
    record = json.loads((target / "recipe.json").read_text())
    assert record == {part: [float(i)] * CHECKABLE for i, part in enumerate(PARTS)}


def test_an_unfinished_recipe_changes_nothing(results, tmp_path):
    (results / "instruct" / "b" / "losses.json").unlink()
    with pytest.raises(StageError, match=r"instruct/b/losses\.json is missing"):
        bundle(results, "b", tmp_path / "models")
    assert not (tmp_path / "models").exists()
