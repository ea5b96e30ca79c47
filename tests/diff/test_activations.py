import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from steps.diff import activations
from steps.stage import Missing, StageError


@pytest.fixture
def folder(tmp_path):
    """Cell D of 33 tokens at two sites, in shards of 10, 20 and 3."""
    x = {"residual.4": torch.arange(66.0).view(33, 2), "heads.4": torch.arange(99.0).view(33, 3)}
    for number, (start, end) in enumerate([(0, 10), (10, 30), (30, 33)]):
        chunks = [{site: of[i : i + 7] for site, of in x.items()} for i in range(start, end, 7)]
        chunks[-1] = {
            site: of[: end - start - 7 * (len(chunks) - 1)] for site, of in chunks[-1].items()
        }
        activations.write(tmp_path / "D" / f"{number:05d}.safetensors", chunks)
    facts = {
        "sites": {"residual.4": 2, "heads.4": 3},
        "stored": True,
        "cells": {"D": {"model": "aligned", "tokens": 33, "hash": "none"}},
    }
    (tmp_path / "activations.json").write_text(json.dumps(facts))
    return tmp_path, x


def test_shards_join_at_each_site(folder):
    path, x = folder
    sizes = [len(load_file(p)["heads.4"]) for p in sorted((path / "D").iterdir())]
    assert sizes == [10, 20, 3]
    keep = torch.arange(33) % 4 == 1
    for site, of in x.items():
        assert torch.equal(activations.read(path, "D", site), of)
        assert torch.equal(activations.read(path, "D", site, keep.numpy()), of[keep])
    nothing = activations.read(path, "D", "heads.4", torch.zeros(33, dtype=torch.bool))
    assert nothing.shape == (0, 3)


def test_what_cannot_be_read_is_named(folder):
    path, _ = folder
    with pytest.raises(
        StageError, match="no site 'mlp.4': it has residual.4, heads.4; to harvest others"
    ):
        activations.read(path, "D", "mlp.4")
    (path / "D" / "00002.safetensors").unlink()
    with pytest.raises(StageError, match="holds 30 tokens where 33 were written"):
        activations.read(path, "D", "heads.4")
    facts = activations.facts(path) | {"stored": False}
    (path / "activations.json").write_text(json.dumps(facts))
    with pytest.raises(StageError, match="diff.store = false"):
        activations.read(path, "D", "heads.4")


def test_values_too_large_for_float16_are_kept_in_float32(tmp_path):
    x, y = torch.tensor([[1.0, 2.0], [1e5, 0.0]]), torch.tensor([[3.0, 4.0]])
    path = tmp_path / "D" / "00000.safetensors"
    activations.write(path, [{"mlp.0": x, "heads.0": y}, {"mlp.0": y, "heads.0": y}])
    stored = load_file(path)
    assert stored["mlp.0"].dtype == torch.float32 and stored["heads.0"].dtype == torch.float16
    assert torch.equal(stored["mlp.0"], torch.cat([x, y]))


def test_a_shard_is_whole_or_not_there(tmp_path):
    def chunks():
        yield {"mlp.0": torch.ones(2, 2)}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        activations.write(tmp_path / "D" / "00000.safetensors", chunks())
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_activations_belong_to_a_model(harvested, base, tmp_path):
    out, _ = harvested
    for cell, (name, _) in activations.CELLS.items():
        read = activations.of(out, cell, base / name)
        assert torch.equal(read("residual.1"), activations.read(out, cell, "residual.1"))
    with pytest.raises(StageError, match="another model than .*instruct .its aligned had"):
        activations.of(out, "D", base / "instruct")
    with pytest.raises(Missing, match="no model.safetensors"):
        activations.of(out, "D", tmp_path)


def test_a_model_in_several_files_has_one_hash(base, tmp_path):
    for number in (1, 2):
        shutil.copy(
            base / "aligned" / "model.safetensors", tmp_path / f"model-{number}.safetensors"
        )
    both = activations.weights(tmp_path)
    assert len(both) == 64 and both != activations.weights(base / "aligned")
    shutil.copy(base / "instruct" / "model.safetensors", tmp_path / "model-2.safetensors")
    assert activations.weights(tmp_path) != both
