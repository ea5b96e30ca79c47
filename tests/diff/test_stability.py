from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps.diff import stability
from steps.diff.sae import fit, saved


def unit(rows):
    return torch.nn.functional.normalize(rows)


def run(folders, out):
    """The stage on dictionaries `seed<k>`, wherever they lie."""
    root = out / f"of{len(folders)}"
    root.mkdir()
    for name, folder in folders.items():
        (root / name).symlink_to(folder)
    seeds = [int(name.removeprefix("seed")) for name in folders]
    want = SimpleNamespace(diff=SimpleNamespace(seeds=seeds))
    return stability.run(want, {"dictionary": root}, out)


def draw(f, d, seed):
    return unit(torch.randn(f, d, generator=torch.Generator().manual_seed(seed)))


def lay(folder, rows, site="residual.2", rate=None):
    f, d = rows.shape
    weights = {"W_enc": rows.T, "b_enc": torch.zeros(f), "W_dec": rows, "b_dec": torch.zeros(d)}
    one = saved.scaled(fit.Fitted(weights, 0.0, None), 4)
    saved.save(folder / site / "MF", one, site, None, rate)
    return folder


def test_latents_are_matched_whatever_their_order(tmp_path):
    rows = draw(60, 32, 0)
    known = rows[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    angle = np.arccos(0.8)
    other = known.clone()
    away = draw(60, 32, 2)
    away = unit(away - (away * known).sum(1, keepdim=True) * known)
    other[:20] = np.cos(angle) * known[:20] + np.sin(angle) * away[:20]
    other[50:] = -known[50:]  # the same line, the other way: not the same latent
    inputs = {"seed0": lay(tmp_path / "a", rows), "seed3": lay(tmp_path / "b", other)}
    found = run(inputs, tmp_path)
    at = {name.split("/")[-1]: value for name, value in found.items()}
    assert at["share_0.9"] == pytest.approx(30 / 60)
    assert at["share_0.7"] == pytest.approx(50 / 60)
    assert at["cosine"] == pytest.approx(0.9, abs=1e-3)  # half at 1, a third at .8
    assert at["overlap"] == pytest.approx(1)  # the unmatched ten span one subspace both times
    assert at["overlap_chance"] == pytest.approx(10 / 32)
    table = pd.read_parquet(tmp_path / "stability.parquet")
    assert set(table["seeds"]) == {"seed0 seed3"} and set(table["site"]) == {"residual.2"}


def test_unrelated_dictionaries_hardly_match_and_three_seeds_make_three_pairs(tmp_path):
    inputs = {f"seed{i}": lay(tmp_path / str(i), draw(20, 64, i)) for i in range(3)}
    found = run(inputs, tmp_path)
    assert found["stability/residual.2/share_0.7"] == 0
    assert found["stability/residual.2/best"] < 0.4
    chance = found["stability/residual.2/overlap_chance"]
    assert chance == pytest.approx(20 / 64)
    assert found["stability/residual.2/overlap"] == pytest.approx(chance, abs=0.08)
    assert len(pd.read_parquet(tmp_path / "stability.parquet")["seeds"].unique()) == 3


def test_dead_latents_are_left_out(tmp_path):
    rows = draw(40, 32, 0)
    other = torch.cat([rows[:30], draw(10, 32, 9)])
    rate = torch.tensor([0.1] * 30 + [0.0] * 10)
    inputs = {
        "seed0": lay(tmp_path / "a", rows, rate=rate),
        "seed1": lay(tmp_path / "b", other, rate=rate),
    }
    found = run(inputs, tmp_path)
    assert found["stability/residual.2/share_0.9"] == 1
    assert "stability/residual.2/overlap" not in found  # nothing is left unmatched


def test_one_seed_tells_nothing_and_sites_must_agree(tmp_path):
    inputs = {"seed0": lay(tmp_path / "a", draw(20, 16, 0))}
    assert run(inputs, tmp_path) == {}
    assert len(pd.read_parquet(tmp_path / "stability.parquet")) == 0
    inputs["seed1"] = lay(tmp_path / "b", draw(20, 16, 1), "mlp.2")
    with pytest.raises(ValueError, match="different sites"):
        run(inputs, tmp_path)
