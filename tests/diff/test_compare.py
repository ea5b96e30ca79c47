"""The comparison on dictionaries that read planted codes exactly, so that all is known."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from steps.diff import activations, compare, stream
from steps.diff.arrows import ARROWS
from steps.diff.sae import saved
from steps.diff.sae.saved import Dictionary
from steps.diff.turning import measures, nulls

F, D, SAMPLES = 60, 64, 90
KINDS = {"image": [0] * 6 + [1, 1, 2, 2], "text": [3] * 4 + [1, 1, 2, 2]}
EMERGE, VANISH, DEAD, TURNED, REUSED, UNSETTLED, ONLY_X, LEFT = range(8)
PARAMS = SimpleNamespace(run=SimpleNamespace(seed=0, threads=1))


def turn(rows, which, degrees):
    """Rows of which some are turned, each into its own direction orthogonal to all rows."""
    spare = torch.linalg.svd(rows).Vh[len(rows) :]
    made, angle = rows.clone(), np.radians(degrees)
    for j, away in zip(which, spare, strict=False):
        made[j] = np.cos(angle) * rows[j] + np.sin(angle) * away
    return made


def reader(rows):
    weights = {"W_enc": torch.linalg.pinv(rows.double()).float(), "b_enc": torch.full((F,), -0.05)}
    weights |= {"W_dec": rows, "b_dec": torch.zeros(D)}
    return Dictionary(weights, "topk", 16, None, {})


@pytest.fixture
def world(monkeypatch, tmp_path):
    """Four cells of planted codes, nine dictionaries that read them, and a gate that all pass."""
    g = torch.Generator().manual_seed(0)
    start = torch.linalg.qr(torch.randn(D, D, generator=g))[0][:F].contiguous()
    base, tuned = start, turn(start, [TURNED, ONLY_X], 60)
    m_rows = start.clone()
    m_rows[ONLY_X] = tuned[ONLY_X]  # tuned in words already: only the order x sees it turn
    directions = {"S": base, "D": base, "M": m_rows, "F": tuned}
    tables, cells = {}, {}
    for kind, types in KINDS.items():
        names = [activations.TYPES[t] for t in types] * SAMPLES
        table = pd.DataFrame({"type": names, "token": types * SAMPLES})
        table["sample"] = np.repeat(np.arange(SAMPLES), len(types))
        table["position"] = np.tile(np.arange(len(types)), SAMPLES)
        table["split"] = np.where(table["sample"] % 5 == 0, "eval", "fit")
        tables[kind] = table
        n = len(table)
        draws = (0.5 + torch.rand(n, F, generator=g)) * (torch.rand(n, F, generator=g) < 0.1)
        for cell in (c for c, (_, given) in activations.CELLS.items() if given == kind):
            codes = draws.clone()
            codes[:, DEAD] = 0
            if cell != "F":
                codes[:, EMERGE] = 0
            else:
                codes[:, VANISH] = 0
                codes[:, REUSED] *= 4
            cells[cell] = codes @ directions[cell] + 1e-3 * torch.randn(n, D, generator=g)
    made = {}
    for name, (_, cell) in ARROWS.items():
        size = 0.004 if name.endswith("2") else 0.001  # the null's drift is wider than any other
        drift = size * torch.randn(F, D, generator=g)
        made[name] = reader(torch.nn.functional.normalize(directions[cell] + drift))
    for name in ("S2", "D2", "M2"):  # never had a direction of its own
        made[name].weights["W_dec"][UNSETTLED] = -start[UNSETTLED]

    def index(folder, cell):
        return tables[activations.CELLS[cell][1]]

    monkeypatch.setattr(stream, "read", lambda inputs, cell, site: cells[cell])
    monkeypatch.setattr(activations, "index", index)
    monkeypatch.setattr(saved, "load", lambda folder: made[folder.name])
    verdict = {"ratio": 0.97, "converged": True, "followed": True}
    gate = {name: dict(verdict) for name in ("S", "D", "M", "MF", "DF")}
    (tmp_path / "dictionary").mkdir()
    (tmp_path / "dictionary" / "gate.json").write_text(json.dumps({"residual.1": gate}))
    return SimpleNamespace(
        made=made, cells=cells, inputs={"harvest": tmp_path, "dictionary": tmp_path / "dictionary"}
    )


def run(world, tmp_path, name="out"):
    out = tmp_path / name
    out.mkdir()
    metrics = compare.run(PARAMS, world.inputs, out)
    assert all(np.isfinite(value) for value in metrics.values())
    features = pd.read_parquet(out / "features.parquet")
    assert list(features["feature"]) == list(range(F)) and set(features["site"]) == {"residual.1"}
    return features, {n.removeprefix("compare/residual.1/"): v for n, v in metrics.items()}, out


def test_what_was_planted_is_told_apart(world, tmp_path):
    features, metrics, out = run(world, tmp_path)
    for rule in ("beyond", "paired"):
        assert list(np.flatnonzero(features[f"{rule}_y"])) == [TURNED]
        assert list(np.flatnonzero(features[f"{rule}_x"])) == [TURNED, ONLY_X]
    assert list(np.flatnonzero(features["corner"])) == [TURNED]
    assert metrics["corner"] == metrics["corner_paired"] == 1
    expected = {
        EMERGE: "emerge",
        VANISH: "vanish",
        DEAD: "dead",
        TURNED: "reorient",
        REUSED: "reuse",
        UNSETTLED: "unsettled",
        LEFT: "keep",
    }
    for order in "xy":
        found = dict(features[f"class_{order}"][list(expected)])
        # the order y sees images with the tuned model from the start
        assert found == expected | ({REUSED: "keep"} if order == "y" else {})
        assert (features[f"class_{order}"][LEFT:] == "keep").mean() > 0.9
        counts = [metrics[f"class/{order}/{kind}"] for kind in compare.CLASSES]
        assert sum(counts) == F and metrics[f"born/{order}"] == 1
        assert metrics[f"class_null/{order}/emerge"] == metrics[f"born_null/{order}"] == 0
        assert metrics[f"class_null/{order}/reorient"] <= 1
    assert features["class_x"][ONLY_X] == "reorient" and features["class_y"][ONLY_X] == "keep"
    assert features["cosine_x"][TURNED] == pytest.approx(0.5, abs=0.05)
    assert features["cosine_SM"][ONLY_X] == pytest.approx(0.5, abs=0.05)
    assert features["cosine_end"].min() > 0.99
    assert metrics["beyond_null/x"] <= 0.05 < metrics["paper/x/share"]
    assert metrics["paper/x/precision_beyond"] < 0.25
    for name in ("rotation.png", "orders.png"):
        with Image.open(out / name) as picture:
            picture.load()
            assert picture.size[0] > 600 and len(picture.convert("RGB").getcolors(1 << 20)) > 20


def test_energies_scaling_and_rates(world, tmp_path):
    features, metrics, out = run(world, tmp_path)
    assert features["visual"][REUSED] == pytest.approx(16 / 17, abs=0.02)
    assert features["visual_low"][REUSED] > 0.5 > features["visual_high"][VANISH]
    np.testing.assert_allclose(features["visual"][LEFT:], 0.5, atol=0.2)
    assert features["visual"][DEAD:].isna().sum() == 1  # the dead one
    assert 0 < metrics["visual_above"] < 0.2
    kept = features["alive_S"] & features["alive_MF"] & (features["feature"] >= LEFT)
    for order in "xy":
        assert abs(features[f"nu_error_{order}"][EMERGE]) < 0.1
        np.testing.assert_allclose(features[f"nu_error_{order}"][kept], 1, atol=0.1)
        assert features[f"nu_error_{order}"][REUSED] == pytest.approx(0.25, abs=0.05)
    z = world.made["DF"].codes(world.cells["F"]).numpy()
    image = np.array(KINDS["image"] * SAMPLES) == 0
    np.testing.assert_allclose(features["rate_DF_image"], (z[image] > 0).mean(0))
    np.testing.assert_allclose(
        features["energy_DF_answer"], (z[8::10] ** 2 + z[9::10] ** 2).mean(0) / 2, rtol=1e-4
    )
    assert "rate_M_image" not in features and "rate_M_told" in features
    # what was fitted to a cell explains it; what was not misses what turned
    assert metrics["fvu/DF/all"] < 0.01 < metrics["fvu/S_on_F/all"]
    assert "fvu/S/image" not in metrics and "fvu/S/told" in metrics
    found = load_file(out / "residual.1" / "lens.safetensors")
    assert found["difference.mean"].shape == (4, D)
    assert found["difference.pca"].shape == (8, D)
    assert 0 < metrics["lens/pca/1"] < metrics["lens/pca/8"] <= 1


def test_a_turn_of_all_activations_is_seen_and_undone(world, tmp_path):
    g = torch.Generator().manual_seed(7)
    q = torch.linalg.qr(torch.eye(D) + 0.12 * torch.randn(D, D, generator=g))[0]
    q = q * torch.sign(torch.diag(q))
    world.cells["F"] = world.cells["F"] @ q
    for name in ("DF", "MF", "F2"):
        world.made[name] = reader(world.made[name].weights["W_dec"] @ q)
    features, metrics, _ = run(world, tmp_path)
    assert metrics["beyond/x"] > 0.9 and metrics["beyond/y"] > 0.9
    assert metrics["cosine/x"] < 0.8 < 0.99 < metrics["aligned/x"]
    assert metrics["beyond_aligned/x"] < 0.8 * metrics["beyond/x"]
    assert metrics["procrustes/DF/explained"] > metrics["procrustes/DF/plain"]


def test_an_arrow_from_an_unconverged_parent_is_refused(world, tmp_path):
    path = world.inputs["dictionary"] / "gate.json"
    gate = json.loads(path.read_text())
    gate["residual.1"]["M"]["converged"] = False
    path.write_text(json.dumps(gate))
    features, metrics, out = run(world, tmp_path)
    assert [metrics[f"refused/{order}"] for order in ("SD", "SM", "x", "y")] == [0, 0, 0, 1]
    empty = ["cosine_y", "null_y", "aligned_y", "excess_y", "quantile_y", "class_y", "cosine_end"]
    assert features[empty].isna().all(axis=None)
    assert not features[["settled_y", "beyond_y", "paired_y", "corner"]].any(axis=None)
    told = [name for name in metrics if name.split("/")[-1] == "y" or "/y/" in name]
    assert told == ["refused/y"] and "corner" not in metrics
    assert features["beyond_x"].sum() == 2
    assert (out / "rotation.png").exists() and not (out / "orders.png").exists()


def test_two_runs_give_the_same_bytes(world, tmp_path):
    assert run(world, tmp_path, "one")[1] == run(world, tmp_path, "two")[1]
    names = [p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file()]
    assert len(names) == 4
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_identical_dictionaries_have_not_turned(world, tmp_path):
    for name in ARROWS:
        world.made[name] = world.made["S"]
    features, metrics, _ = run(world, tmp_path)
    for order in ("SD", "SM", "x", "y"):
        np.testing.assert_allclose(features[f"cosine_{order}"], 1, atol=1e-12)
        assert not features[[f"beyond_{order}", f"matched_{order}", f"paired_{order}"]].any(
            axis=None
        )
        assert metrics[f"excess/{order}"] == 0
        assert metrics[f"threshold/{order}"] < 1e-5


def test_too_few_features_give_no_figures(world, tmp_path):
    for cell in world.cells:
        codes = world.made["S"].codes(world.cells[cell])
        codes[:, nulls.FEWEST + measures.LEAST :] = 0
        codes[:, : measures.LEAST + 1] = 0
        world.cells[cell] = codes @ world.made["S"].weights["W_dec"]
    features, metrics, out = run(world, tmp_path)
    assert metrics["settled/x"] == features["settled_x"].sum() < nulls.FEWEST
    assert "beyond/x" not in metrics and "corner" not in metrics
    assert not (out / "orders.png").exists() and not (out / "rotation.png").exists()
