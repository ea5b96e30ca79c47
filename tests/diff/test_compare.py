import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from steps.diff import activations, compare, dictionary, measures, topk

K = 4


@pytest.fixture
def fitted(params, harvested, tmp_path):
    out = tmp_path / "dictionary"
    out.mkdir()
    dictionary.run(params, {"harvest": harvested[0]}, out)
    return {"harvest": harvested[0], "dictionary": out}


def test_features_figures_and_picture(params, fitted, tmp_path):
    out = tmp_path / "compare"
    out.mkdir()
    metrics = compare.run(params, fitted, out)
    assert all(np.isfinite(value) for value in metrics.values())
    features = pd.read_parquet(out / "features.parquet")
    assert len(features) == 48 and list(features["feature"]) == list(range(48))
    settled = features[features["settled"]]
    assert 24 < len(settled) == metrics["compare/settled"] <= metrics["compare/alive"]
    before, _ = dictionary.load(fitted["dictionary"] / "before")
    after, _ = dictionary.load(fitted["dictionary"] / "after")
    expected = (before["W_dec"] * after["W_dec"]).sum(1)  # rows of unit length
    np.testing.assert_allclose(features["cosine"], expected, atol=1e-6)
    limit = np.quantile(settled["cosine_null"], 0.01)
    assert metrics["compare/threshold"] == pytest.approx(limit)
    assert metrics["compare/beyond_null"] == pytest.approx((settled["cosine"] < limit).mean())
    # the models are unrelated random ones: the features must turn far more than the null says
    assert metrics["compare/beyond_null"] > 0.2
    counts = [metrics[f"compare/class/{kind}"] for kind in compare.CLASSES]
    assert sum(counts) == 48
    assert metrics["compare/class/reorient"] == features["beyond"].sum()
    assert metrics["compare/class_null/reorient"] <= 1
    assert metrics["compare/class/reorient"] > metrics["compare/class_null/reorient"]
    with Image.open(out / "rotation.png") as picture:
        picture.load()
        assert picture.size[0] > 800 and len(picture.convert("RGB").getcolors(1 << 20)) > 20


def test_quality_is_measured_on_valid_tokens_of_held_out_scenes(params, fitted, tmp_path):
    metrics = compare.run(params, fitted, tmp_path)
    for name, dictionary_name, cell in (
        ("before", "before", "D"),
        ("after", "after", "F"),
        ("before_on_after", "before", "F"),
        ("before_text", "before", "S"),
    ):
        w, _ = dictionary.load(fitted["dictionary"] / dictionary_name)
        x, index = (
            activations.read(fitted["harvest"], cell),
            activations.index(fitted["harvest"], cell),
        )
        held = (index["split"] == "eval").to_numpy()
        again = topk.decode(w, *topk.encode(w, x, K))
        for kind in ("all", "question"):
            rows = held if kind == "all" else held & (index["type"] == kind).to_numpy()
            mine = x[torch.tensor(rows)]
            left = (mine - again[torch.tensor(rows)]).double().square().sum()
            expected = left / (mine.double() - mine.double().mean(0)).square().sum()
            found = metrics[f"compare/fvu/{name}/{kind}"]
            assert found == pytest.approx(float(expected), rel=1e-4)
    assert "compare/fvu/before_text/image" not in metrics  # a text cell has no image tokens
    assert metrics["compare/fvu/before_on_after/all"] > 1.2 * metrics["compare/fvu/after/all"]
    assert 0 < metrics["compare/l0/before"] <= K


def test_two_runs_give_the_same_bytes(params, fitted, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = compare.run(params, fitted, tmp_path / "one")
    assert one == compare.run(params, fitted, tmp_path / "two")
    for name in ("features.parquet", "rotation.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def activity(firings, energy_image, energy_text):
    firings = np.array([np.zeros(len(firings)), firings], float)
    return measures.Activity(
        np.array([100, 100]), firings, np.array([energy_image, energy_text], float)
    )


def test_what_became_of_a_feature():
    width = 40
    fires = np.full(width, 50)
    g = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(width, 16, generator=g))
    turned = rows.clone()
    turned[3] = -rows[3]
    drift = torch.nn.functional.normalize(rows + 0.02 * torch.randn(width, 16, generator=g))
    weights = {"before": {"W_dec": rows}, "after": {"W_dec": turned}, "null": {"W_dec": drift}}
    before, after = fires.copy(), fires.copy()
    before[0], after[1], before[2], after[2] = 0, measures.LEAST - 1, 3, 2
    even = np.ones(width)
    drift[6] = -rows[6]  # it never had a direction: the null carries it as far as can be
    saw = even.copy()
    saw[4] = 50.0  # from an even share to nearly all on the image
    seen = {
        "before": activity(before, even, even),
        "null": activity(before, even * 1.01, even),
        "after": activity(after, saw, even),
    }
    frame = compare.table(weights, seen)
    kinds = ["emerge", "vanish", "dead", "reorient", "reuse", "keep", "unsettled"]
    assert list(frame["class"][:7]) == kinds
    assert (frame["class"][7:] == "keep").all()
    assert list(frame["class_null"][:3]) == ["dead", "keep", "dead"]
    assert frame["visual_after"][4] == pytest.approx(50 / 51)
    assert frame["alive"].sum() == width - 3 and frame["beyond"].sum() == 1
    assert frame["settled"].sum() == width - 4
    assert frame["quantile"][3] == pytest.approx(1 / (width - 4 + 1))
    assert frame["quantile"][:3].isna().all()


def test_hardly_a_living_feature_is_refused():
    weights = {name: {"W_dec": torch.eye(5)} for name in dictionary.CELL}
    seen = {name: activity(np.array([50, 0, 0, 0, 0]), [1] * 5, [1] * 5) for name in weights}
    with pytest.raises(ValueError, match="of 5 features 1 fire 10 times.*raise diff.steps"):
        compare.table(weights, seen)
