"""Rank statistics against their references, and the choice of features against planted truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, mannwhitneyu
from sklearn.metrics import roc_auc_score

from steps.diff.relations import HALVES
from steps.diff.space import baselines, concepts
from steps.diff.space.auroc import auroc, greater, ranks
from steps.diff.space.overlap import enriched, overlaps
from steps.diff.space.telling import correlation, shared

RELATIONS = ("left", "right", "above", "below")


def sparse(rng, n, f):
    """Codes with many ties: zero on most scenes."""
    return np.where(rng.random((n, f)) < 0.3, rng.random((n, f)).round(1), 0.0)


def scenes(n):
    """A table with as many scenes of each relation in both halves, and two attributes."""
    rng = np.random.default_rng(5)
    relation = np.array(RELATIONS)[np.arange(n) % 4]
    table = pd.DataFrame({"relation": relation, "half": np.array(HALVES)[np.arange(n) // 4 % 2]})
    table["first_color"] = rng.choice(["red", "green", "blue"], n)
    table["first_size"] = rng.choice(["small", "large"], n)
    table["first_box"] = [[]] * n
    return table


def test_auroc_is_scikit_learns_with_ties():
    rng = np.random.default_rng(0)
    x, labels = sparse(rng, 60, 7), rng.random((3, 60)) < 0.4
    want = [[roc_auc_score(label, column) for column in x.T] for label in labels]
    assert np.allclose(auroc(ranks(x), labels), want)


def test_p_is_mann_whitneys_with_the_correction_for_ties():
    rng = np.random.default_rng(1)
    x, labels = sparse(rng, 80, 6), rng.random((2, 80)) < 0.3
    want = [
        mannwhitneyu(x[y], x[~y], alternative="greater", method="asymptotic", use_continuity=False)
        for y in labels
    ]
    assert np.allclose(greater(ranks(x), labels), [test.pvalue for test in want])
    assert greater(ranks(np.zeros((80, 1))), labels).tolist() == [[1.0], [1.0]]


def test_permuted_labels_give_uniform_p():
    rng = np.random.default_rng(3)
    ranked = ranks(rng.random((200, 400)))
    p = greater(ranked, rng.permutation(np.arange(200) < 50)[None])
    assert kstest(p.ravel(), "uniform").pvalue > 0.01


def planted(n=480, width=120):
    """Codes of noise but for feature 0, which tells left, and feature 1, which tells red."""
    rng, table = np.random.default_rng(6), scenes(n)
    codes = sparse(rng, n, width)
    codes[:, 0] += 0.8 * (table["relation"] == "left") * (rng.random(n) < 0.9)
    codes[:, 1] += 0.8 * (table["first_color"] == "red")
    half = table["half"].to_numpy()
    return table, half, codes, concepts.Halves(codes, half)


def test_a_planted_relation_is_found_and_an_attribute_is_told_apart():
    table, _, _, halves = planted()
    rows = concepts.table(halves, concepts.relation_labels(table))
    rows["selected"] = rows["q"] <= 0.05
    found = rows[rows["selected"] & rows["relation"].isin(RELATIONS)]
    assert (0, "left") in set(zip(found["place"], found["relation"], strict=True))
    assert len(found) <= 2 and found.iloc[0]["auroc"] > 0.8
    across = rows[(rows["place"] == 0) & rows["selected"]]["relation"].tolist()
    assert "horizontal" in across and "vertical" not in across
    name, value = concepts.strongest(halves, concepts.attribute_labels(table))
    assert name[1] == "color red" and value[1] > 0.8
    assert value[0] < 0.6
    assert np.abs(value[2:].mean() - 0.5) < 0.02  # of the half that did not choose: no curse


def test_nothing_planted_nothing_found():
    table, half, codes, _ = planted()
    labels = concepts.relation_labels(table)
    halves = concepts.Halves(codes[:, 2:], half)
    assert (concepts.table(halves, labels)["q"] <= 0.05).sum() <= 1
    select, report = concepts.winners(*halves.auroc(np.stack(list(labels.values()))))
    assert (select - report).mean() > 0.05  # the best is too good where it was chosen
    assert np.abs(report.mean() - 0.5) < 0.05


def test_the_best_with_permuted_labels_is_what_the_best_of_noise_is():
    table, half, codes, halves = planted()
    labels = {n: v for n, v in concepts.relation_labels(table).items() if n in RELATIONS}
    rng = np.random.default_rng(0)
    select, report = concepts.permuted(halves, labels, 120, rng)
    assert select.shape == report.shape == (120, 4)
    best, _ = concepts.winners(*halves.auroc(np.stack(list(labels.values()))))
    assert (select[:, 0] < best[0]).all()  # left is planted, the others are not
    noise = concepts.Halves(codes[:, 2:], half)
    own, _ = concepts.winners(*noise.auroc(np.stack(list(labels.values()))))
    assert ((np.quantile(select, 0.001, 0) < own) & (own < select.max(0) + 0.02)).all()
    assert np.abs(report.mean() - 0.5) < 0.02


def test_labels_with_too_few_scenes_cannot_be_tested():
    table = scenes(480)
    table.loc[table["relation"] == "below", "relation"] = "above"
    table.loc[[3, 7, 11], "relation"] = "below"
    found = concepts.testable(concepts.relation_labels(table), table["half"].to_numpy())
    assert "below" not in found and {"left", "above", "horizontal"} <= set(found)


def test_baselines_find_a_direction_and_nothing_in_noise():
    table, half, *_ = planted()
    rng = np.random.default_rng(0)
    labels = {n: v for n, v in concepts.relation_labels(table).items() if n in RELATIONS}
    raw = {way: rng.standard_normal((480, 12)) for way in baselines.READINGS}
    raw["mean"][:, 3] += 2 * (table["relation"] == "left")
    lens = {"difference_mean": np.eye(12)[3:4], "difference_pca": np.eye(12)[:2]}
    found = baselines.scores(raw, labels, half, lens)
    for method in ("difference_mean", "class_means", "ceiling"):
        assert found[method]["left"] > 0.85, method
        assert abs(found[method]["above"] - 0.5) < 0.2
    assert abs(found["difference_pca"]["left"] - 0.5) < 0.1


def test_enrichment_is_a_permutation_within_strata():
    rng = np.random.default_rng(0)
    rate = rng.random(400)
    chosen, marked = rng.random(400) < rate / 2, rng.random(400) < rate / 2
    found = enriched(chosen, marked, rate)
    stratum = np.argsort(np.argsort(rate)) * 10 // 400
    draws = []
    for _ in range(1500):
        order = np.lexsort((rng.random(400), stratum))
        shuffled = np.empty(400, bool)
        shuffled[np.lexsort((np.arange(400), stratum))] = marked[order]
        draws.append((chosen & shuffled).sum())
    assert found["expected"] == pytest.approx(np.mean(draws), abs=0.3)
    assert found["p"] == pytest.approx(np.mean(np.array(draws) >= found["both"]), abs=0.05)
    assert (chosen & marked).sum() / (chosen.mean() * marked.sum()) > 1.15  # by rate alone
    assert found["p"] > 0.01
    again = enriched(chosen, marked | (chosen & (rng.random(400) < 0.5)), rate)
    assert again["p"] < 1e-4 and again["ratio"] > 1.3 and again["odds"] > 2
    assert enriched(chosen, np.zeros(400, bool), rate) == {}


def test_a_corner_holds_its_share_and_a_refused_arrow_gives_no_figure():
    rng = np.random.default_rng(1)
    x, y = rng.random(300) < 0.3, rng.random(300) < 0.3
    chosen = (x & y & (rng.random(300) < 0.8)) | (rng.random(300) < 0.05)
    compared = pd.DataFrame({"beyond_x": x, "beyond_y": y, "corner": x & y})
    found, missing = overlaps(chosen, rng.random(300), compared)
    assert found["share/corner"] > 0.6 and found["share/single"] < 0.2 and not missing
    assert found["corner/ratio"] > found["beyond_x/ratio"] > 1
    found, missing = overlaps(chosen, rng.random(300), compared.assign(beyond_y=None, corner=None))
    assert set(missing) == {"beyond_y", "corner"}
    assert not any(name.startswith(("corner", "share")) for name in found)


def test_what_features_share_between_stories_and_images_is_found():
    """Also where features come in crowds that err together, which a permuted pairing ignores."""
    rng = np.random.default_rng(0)
    labels = np.stack([np.arange(160) % 4 == i for i in range(4)])
    told = rng.standard_normal((160, 40))
    told[:, :4] += 2 * labels.T
    text = auroc(ranks(told), labels)
    found = shared(text + 0.02 * rng.standard_normal(text.shape), ranks(told), labels, 99, rng)
    assert found["correlation"] > 0.7 and found["p"] == found["pairing_p"] == pytest.approx(0.01)
    small = {"p": 0, "pairing_p": 0}
    for _ in range(40):
        crowd = np.repeat(rng.standard_normal((160, 3)), 20, 1)
        image = auroc(ranks(np.repeat(rng.standard_normal((160, 3)), 20, 1)), labels)
        found = shared(image, ranks(crowd), labels, 39, rng)
        small = {name: small[name] + (found[name] <= 0.05) for name in small}
    assert small["p"] <= 6 < small["pairing_p"]
    assert correlation(np.ones((1, 5)), np.ones((1, 5))) == 0
