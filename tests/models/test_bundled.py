"""The committed base is what its recipe makes: the first steps of each part, run again."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file, save_file

from steps import params
from steps.models import align, fit, instruct, language, load, tower

ROOT = Path(__file__).parents[2]
BASE = ROOT / "models" / "bundled"
PARTS = {"tower": tower, "language": language, "align": align, "instruct": instruct}
RECORD = json.loads((BASE / "recipe.json").read_text())


def test_the_committed_weights_fit_the_budget_and_load():
    assert sum(f.stat().st_size for f in (ROOT / "models").rglob("*") if f.is_file()) <= 30e6
    assert set(RECORD) == set(PARTS) and all(len(r) == fit.CHECKABLE for r in RECORD.values())
    for part in ("aligned", "instruct"):
        model = load.vlm(BASE / part)
        assert 1e6 <= model.num_parameters() <= 3e6
    before, after = (load_file(BASE / p / "model.safetensors") for p in ("aligned", "instruct"))
    moved = [k for k in before if not before[k].equal(after[k])]
    assert any("language_model" in k for k in moved) and any("vision_tower" in k for k in moved)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_the_first_steps_have_the_same_losses(name, tmp_path, monkeypatch):
    study = params.load(ROOT / "params.yaml")
    whole = load.vlm(BASE / "aligned").model
    inputs = {"align": BASE / "aligned", "tower": tmp_path, "language": tmp_path}
    save_file(whole.vision_tower.state_dict(), tmp_path / "tower.safetensors")
    save_file(whole.language_model.state_dict(), tmp_path / "language.safetensors")
    again = []

    def beginning(*args, **options):
        again.extend(fit.fit(*args, stop=fit.CHECKABLE, **options))
        raise StopIteration

    monkeypatch.setattr(PARTS[name], "fit", beginning)
    run = SimpleNamespace(checkpoints=tmp_path / "checkpoints")
    with pytest.raises(StopIteration):
        PARTS[name].run(
            SimpleNamespace(world=study.world, recipe=study.recipe, run=run), inputs, tmp_path
        )
    assert again == pytest.approx(RECORD[name], rel=1e-4)
