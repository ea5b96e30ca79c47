"""The classification probe finds what is planted, no more, and never looks at the test set."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps.encoder import classify, fewshot


@pytest.fixture
def planted():
    """Features with a linear label `told` in them, a noisy one and a coin that they do not tell."""
    rng = np.random.default_rng(0)
    z, codes = rng.normal(size=(1200, 30)), rng.integers(0, 3, 1200)
    z[np.arange(1200), codes] += 6
    x = z * rng.uniform(0.01, 50, 30) + 3
    rows = pd.DataFrame({"split": ["train"] * 800 + ["test"] * 400})
    rows["told"] = np.array(["a", "b", "c"])[codes]
    noisy = z[:, 3:7].sum(1) + 3 * rng.normal(size=1200)
    rows["noisy"] = np.where(noisy > 0, "yes", "no")
    rows["coin"] = rng.choice(["heads", "tails"], 1200)
    return x, rows


SECTION = SimpleNamespace(penalties=[0.01, 1.0, 100.0, 1e4, 1e6], select_share=0.25)
LABELS = ["told", "noisy", "coin"]


def top1(told, rows, label):
    return (told == rows[rows.split == "test"][label].to_numpy()).mean()


def test_planted_label_is_found_and_a_coin_is_not(planted):
    x, rows = planted
    found = classify.linear(x, rows, LABELS, SECTION, 0)
    assert top1(found["told"][0], rows, "told") > 0.99
    assert 0.42 < top1(found["coin"][0], rows, "coin") < 0.58  # 3 standard errors about chance
    test = rows[rows.split == "test"]
    common = rows[rows.split == "train"].coin.mode()[0]
    assert found["coin"][2] == (test.coin == common).mean()


def test_penalty_is_blind_to_the_test_set(planted):
    x, rows = planted
    before = classify.linear(x, rows, LABELS, SECTION, 0)
    assert len({before[label][1] for label in LABELS}) > 1  # there is something to choose
    shuffled, test = rows.copy(), np.flatnonzero(rows.split == "test")
    rng = np.random.default_rng(1)
    for label in LABELS:
        shuffled.loc[test, label] = rng.permutation(rows[label].to_numpy()[test])
    other = x.copy()
    other[test] = rng.normal(size=other[test].shape)
    after = classify.linear(other, shuffled, LABELS, SECTION, 0)
    assert [before[label][1] for label in LABELS] == [after[label][1] for label in LABELS]


def test_refit_uses_all_of_train(planted):
    from sklearn.linear_model import RidgeClassifier
    from sklearn.preprocessing import StandardScaler

    x, rows = planted
    told, penalty, _ = classify.linear(x, rows, ["noisy"], SECTION, 0)["noisy"]
    train, test = (rows.split == s for s in ("train", "test"))
    scaler = StandardScaler().fit(x[train])
    peer = RidgeClassifier(alpha=penalty).fit(scaler.transform(x[train]), rows.noisy[train])
    assert (peer.predict(scaler.transform(x[test])) == told).mean() > 0.995


def test_errors_are_one_sentence(planted):
    x, rows = planted
    with pytest.raises(ValueError, match="label told: all training images are 'a'"):
        classify.linear(x, rows.assign(told="a"), ["told"], SECTION, 0)
    with pytest.raises(ValueError, match="0 training and 1200 test images"):
        classify.linear(x, rows.assign(split="test"), ["told"], SECTION, 0)
    strange = rows.copy()
    strange.loc[1000, "told"] = "d"
    with pytest.raises(ValueError, match=r"label told: test has the classes .*d.* train lacks"):
        classify.linear(x, strange, ["told"], SECTION, 0)


def colours(probes, name):
    """Mean colour of each image: features that tell the planted colour, not the coin."""
    return np.load(probes / f"{name}_images.npy").mean((1, 2))


def cached(probes, folder):
    for name in ("classify", "digits"):
        for place in ("vit", "proj"):
            np.save(folder / f"{name}_{place}.npy", colours(probes, name).astype(np.float16))


def test_stage(probes, section, tmp_path):
    cached(probes, tmp_path)
    metrics = classify.run(section, {"features": tmp_path, "probes": probes}, tmp_path)
    assert metrics["classify/asked/color/top1"] > 0.95
    assert metrics["classify/never/coin/top1"] < 0.7
    assert metrics["classify/digits/clean/top1"] > 0.9
    assert metrics["proj/classify/asked/color/top1"] == metrics["classify/asked/color/top1"]
    assert all(isinstance(v, float) and np.isfinite(v) for v in metrics.values())
    items = pd.read_parquet(tmp_path / "items.parquet")
    assert list(items.columns[:9]) == [
        "study", "base", "arm", "seed", "instrument", "item", "raw", "strict", "lenient",
    ]  # fmt: skip
    rows = items[items.instrument == "classify/color"]
    assert len(rows) == 80 and not rows.item.duplicated().any()
    assert rows.lenient.mean() == pytest.approx(metrics["classify/asked/color/top1"])
    assert ((rows.raw == rows.truth) == (rows.strict == 1)).all()
    drawn = items[items.instrument == "classify/digits_noisy"]
    assert drawn.lenient.mean() == pytest.approx(metrics["classify/digits/noisy/top1"])
    assert set(drawn.groupby("draw").size()) == {20}


def test_other_probes_and_a_view_of_fixed_width(probes, section, tmp_path):
    cached(probes, tmp_path)
    plain = classify.run(section, {"features": tmp_path, "probes": probes}, tmp_path)
    section.classify.kinds, section.classify.pca = ["ridge", "logistic", "fused", "knn"], 2
    metrics = classify.run(section, {"features": tmp_path, "probes": probes}, tmp_path)
    assert plain.items() <= metrics.items()
    for kind in ("logistic", "fused", "knn"):
        assert metrics[f"classify/asked/color/{kind}/top1"] > 0.9
        assert metrics[f"classify/never/coin/{kind}/top1"] < 0.7
        assert metrics[f"classify/asked/color/{kind}/setting"] > 0
    assert 0.5 < metrics["pca/proj/classify/asked/color/top1"] <= 1
    assert all(isinstance(v, float) and np.isfinite(v) for v in metrics.values())
    items = pd.read_parquet(tmp_path / "items.parquet")
    rows = items[items.instrument == "classify/color/knn"]
    assert rows.lenient.mean() == pytest.approx(metrics["classify/asked/color/knn/top1"])
    section.classify.pca = 4000
    with pytest.raises(ValueError, match=r"classify.pca = 4000"):
        classify.run(section, {"features": tmp_path, "probes": probes}, tmp_path)


def test_draws_depend_on_the_seed_alone(probes, section):
    def told(seed):
        section.run.seed = seed
        noise = np.random.default_rng(0).normal(size=(100, 5))  # nothing to tell: draws decide
        return fewshot.digits(lambda name: noise, probes, section, "")[1][0].raw

    assert (told(0) == told(0)).all() and (told(0) != told(1)).any()


def test_bad_probe_sets(probes, section, tmp_path):
    for file in ("classify.parquet", "digits.parquet"):
        (tmp_path / file).write_bytes((probes / file).read_bytes())
    (tmp_path / "probes.json").write_text(json.dumps({"classify": {"asked": ["hue"]}}))
    with pytest.raises(ValueError, match=r"lacks the columns \['hue'\]"):
        classify.probe(lambda name: colours(probes, name), tmp_path, section, "")
    (tmp_path / "probes.json").write_text((probes / "probes.json").read_text())
    with pytest.raises(ValueError, match="classify: 0 images for 200 rows"):
        classify.probe(lambda name: np.zeros((0, 3)), tmp_path, section, "")
    section.classify.digits_per_class = 40
    with pytest.raises(ValueError, match="classify.digits_per_class is 40"):
        classify.probe(lambda name: colours(probes, name), tmp_path, section, "")


def test_photographs_are_a_tier_of_their_own(probes, section, tmp_path):
    for path in probes.iterdir():
        (tmp_path / path.name.replace("classify", "photos_classify")).write_bytes(path.read_bytes())
        (tmp_path / path.name).write_bytes(path.read_bytes())
    rows = pd.read_parquet(probes / "classify.parquet")
    rows = pd.DataFrame({"split": rows.split, "category": rows.color})
    rows.to_parquet(tmp_path / "photos_classify.parquet")
    metrics, tables = classify.probe(lambda name: colours(tmp_path, name), tmp_path, section, "")
    assert metrics["classify/photos/category/top1"] > 0.95
    assert "classify/photos_category" in {t.instrument[0] for t in tables}


def test_starts_without_heavy_imports():
    code = (
        "import sys, steps.encoder.classify as c; print([m for m in sys.modules if '.' not in m])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "numpy" in told.stdout
    assert not any(f"'{m}'" in told.stdout for m in ("torch", "sklearn", "transformers", "scipy"))
