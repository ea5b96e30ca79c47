import json
import shutil

import numpy as np
import pytest
import torch

from steps.diff import activations, harvest
from steps.diff.stream import reader, stream
from steps.stage import StageError


@pytest.mark.parametrize("cell", activations.CELLS)
def test_in_the_indexs_order_it_gives_what_was_stored(harvested, base, items, cell):
    out, _ = harvested
    stored = activations.read(out, cell, "residual.1")
    rows, x = [], []
    for some, seen in stream(out, items, base / activations.CELLS[cell][0], cell):
        assert seen.keys() == {"residual.1"}
        rows.append(some)
        x.append(seen["residual.1"])
    assert len(rows) > 1
    assert np.array_equal(np.concatenate(rows), np.arange(len(stored)))
    assert torch.equal(torch.cat([activations.half(one).float() for one in x]), stored)
    assert not torch.equal(torch.cat(x), stored)  # not rounded


def test_any_order_of_samples_gives_their_rows(harvested, base, items):
    out, _ = harvested
    index = activations.index(out, "F")
    stored = activations.read(out, "F", "residual.1")
    numbers = [7, 30, 7, 2]
    ((rows, x),) = stream(out, items, base / "instruct", "F", numbers)
    assert list(dict.fromkeys(index["sample"].to_numpy()[rows])) == [7, 30, 2]
    assert len(rows) == sum((index["sample"] == n).sum() for n in numbers)
    torch.testing.assert_close(x["residual.1"], stored[torch.tensor(rows)], rtol=2e-3, atol=2e-3)


def test_sites_and_models_that_were_not_harvested_can_be_read(harvested, base, items, tmp_path):
    """As a trained arm's folder: other weights, the base's tokenizer saved with padding set."""
    out, _ = harvested
    shutil.copytree(base / "aligned", tmp_path / "arm")
    path = tmp_path / "arm" / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"truncation": None, "padding": {}}))
    read = reader(out, items, tmp_path / "arm", "F", ["mlp.0", "residual.1"])
    x = read([3, 4])
    mine = activations.index(out, "F")["sample"].isin([3, 4]).to_numpy()
    assert x["mlp.0"].shape == x["residual.1"].shape == (mine.sum(), 24)
    as_aligned = activations.read(out, "D", "residual.1", mine)
    torch.testing.assert_close(x["residual.1"], as_aligned, rtol=2e-3, atol=2e-3)
    with pytest.raises(StageError, match="diff.layers = 5"):
        reader(out, items, base / "instruct", "F", ["residual.5"])


def test_it_can_be_learnt_from(harvested, base, items):
    """Tensors of inference mode could not: autograd refuses to keep them."""
    ((_, x),) = stream(harvested[0], items, base / "instruct", "M", range(3))
    weight = torch.ones(24, 2, requires_grad=True)
    (x["residual.1"] @ weight).square().sum().backward()
    assert weight.grad is not None and not x["residual.1"].requires_grad


def test_a_harvest_that_stored_nothing_serves(base, items, params, tmp_path, harvested):
    params.diff.store = False
    harvest.run(params, {"base": base, "items": items}, tmp_path)
    (one,), (other,) = (
        list(stream(folder, items, base / "instruct", "F", [5]))
        for folder in (harvested[0], tmp_path)
    )
    assert np.array_equal(one[0], other[0])
    assert torch.equal(one[1]["residual.1"], other[1]["residual.1"])


def test_another_tokenizer_is_refused(harvested, base, items, tmp_path):
    shutil.copytree(base / "instruct", tmp_path / "other")
    path = tmp_path / "other" / "tokenizer.json"
    path.write_text(path.read_text().replace('"red"', '"tan"'))
    with pytest.raises(StageError, match="not the tokenizer that"):
        reader(harvested[0], items, tmp_path / "other", "F")
