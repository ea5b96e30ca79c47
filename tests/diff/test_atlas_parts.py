"""Parts of the atlas: which features are shown, what labels they tell, what they promote."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from steps.diff.leaves import known, shown, tops
from steps.diff.reading import ANSWER, IMAGE, QUESTION, Asked
from steps.models.tokenizer import named, tokenizer


def table(count=40, **columns):
    rows = {"site": "residual.0", "feature": np.arange(count), "visual": np.linspace(0, 1, count)}
    return shown.tidy(pd.DataFrame(rows | columns))


def test_groups_take_turns_by_their_rules():
    far = np.arange(40) % 7 * 1.0
    beyond = np.isin(np.arange(40), [4, 5, 11, 12])
    corner = np.isin(np.arange(40), [4, 11])
    features = table(beyond_x=beyond, excess_x=far, beyond_y=corner, excess_y=far, corner=corner)
    rows = [(7, 0.7, True), (8, 0.9, True), (9, 0.99, False), (10, 0.9, True)]
    spatial = pd.DataFrame(rows, columns=["feature", "auroc_select", "selected"])
    found = shown.choose(features, spatial.assign(site="residual.0"), 16, 0)
    by = found.groupby("why")["feature"].apply(list)
    assert by["spatial"] == [8, 10, 7]  # by AUROC, ties by index, only what was selected
    assert by["turned"] == [4, 11, 5, 12]  # the corner first; within, degrees, then index
    assert by["visual"] == [39, 38, 37, 36, 35]
    assert len(by["foil"]) == 4 and found["feature"].is_unique


def test_a_feature_of_two_groups_is_shown_once_and_dead_ones_never():
    alive = np.arange(40) < 6
    beyond = np.isin(np.arange(40), [5, 30])
    features = table(alive=alive, beyond_x=beyond, excess_x=9.0)
    found = shown.choose(features, None, 24, 0)
    assert found["feature"].tolist() == [5, 4, 3, 2, 1, 0]
    assert found["why"].tolist() == ["turned", *["visual"] * 5]


def test_sure_shares_come_before_large_ones():
    sure = np.full(40, np.nan)
    sure[[3, 6]] = [0.6, 0.8]
    found = shown.choose(table(visual_low=sure), None, 8, 0)
    assert found.loc[found["why"] == "visual", "feature"].tolist() == [6, 3]


def test_columns_under_either_name():
    found = table(cosine_x=0.5, y=0.25, rate_MF_image=0.125, rate_S_told=0.75)
    assert found["cosine_x"].eq(0.5).all() and found["cosine_y"].eq(0.25).all()
    assert found["rate_F_image"].eq(0.125).all() and found["rate_S_told"].eq(0.75).all()
    assert found["rate_D_image"].isna().all() and found["alive"].all()


def judged(count):
    rng = np.random.default_rng(0)
    rows = {"scene": np.arange(count), "kind": rng.choice(["count", "color"], count)}
    rows |= {"form": "word", "style": "a", "value": rng.choice(["red", "blue"], count)}
    names = rng.choice(["red ring", "blue cross"], count)
    rows["truth"] = [f'{{"things": [["{n}", "top left"]], "about": ["{n}"]}}' for n in names]
    return pd.DataFrame(rows)


def test_auroc_is_the_usual_one():
    rng = np.random.default_rng(0)
    values, true = rng.integers(0, 4, (60, 3)), rng.random(60) < 0.3
    want = [roc_auc_score(true, values[:, j]) for j in range(3)]
    assert known.auroc(values, true) == pytest.approx(want)


def test_a_planted_label_is_found_and_luck_is_not_reported():
    questions = judged(400)
    rng = np.random.default_rng(1)
    ring = questions["truth"].str.contains("ring").to_numpy()
    values = np.stack([ring * rng.uniform(1, 2, 400), *rng.random((40, 400))], 1)
    found = known.best(questions, values, np.zeros_like(values), 1)
    first = found.iloc[0]
    assert first["label"] == "shown: red" and first["auroc"] == 1  # and `ring`, the same ones
    assert first["auroc_image"] == 0.5 and first["positive"] == ring[1::2].sum()
    noise = found["auroc"].to_numpy()[1:]
    assert abs(noise.mean() - 0.5) < 0.03  # those chosen by were above .5, one and all
    assert (found["select"][1:] > 0).all()


def test_labels_have_no_double_and_rare_ones_are_left_out():
    questions = judged(400)
    names = [label.name for label in known.labels(questions)]
    assert "shown: red" in names and "shown: ring" not in names and "asked about: red" not in names
    questions.loc[:5, "kind"] = "rare"
    found = known.best(questions, np.random.default_rng(0).random((400, 2)), np.zeros((400, 2)), 99)
    assert "kind: rare" not in set(found["label"]) and "kind: count" in set(found["label"])
    assert "form: word" not in set(found["label"])  # nobody is without it


def test_chance_holds_nineteen_of_twenty():
    rng = np.random.default_rng(0)
    true = np.arange(50) < 15
    found = known.auroc(rng.random((50, 2000)), true)
    assert np.mean(abs(found - 0.5) < known.chance(15, 35)) == pytest.approx(0.95, abs=0.02)


def test_one_question_a_scene_and_ties_by_row():
    questions = pd.DataFrame({"scene": [0, 0, 1, 2, 3, 4]})
    assert tops.scenes(questions, np.array([5, 6, 1, 3, 3, 0.0]), 3) == [1, 3, 4]
    assert tops.scenes(questions, np.zeros(6), 3) == []


def test_words_by_mean_over_all_their_occurrences():
    ids = torch.tensor([[9, 1, 1, 2], [9, 1, 2, 2], [9, 3, 3, 1]])
    types = torch.tensor([[IMAGE, QUESTION, ANSWER, ANSWER]] * 3)
    some = Asked(ids, torch.ones_like(ids), types, None)
    values = np.array([[7, 4, 0, 1], [7, 2, 1, 1], [7, 9, 9, 0.0]])
    found = tops.words(values, some)
    assert found["token"].tolist() == [1, 2]  # 3 occurs twice only, 9 is no word
    assert found["mean"].tolist() == [1.5, 1] and found["share"].tolist() == [0.5, 1]
    assert tops.places(values, some).tolist() == [7]


def test_a_direction_promotes_what_the_unembedding_reads(vlm):
    model, _ = vlm
    words = model.get_output_embeddings().weight.detach()
    found = tops.promoted(model, "residual.1", words[[5, 40]])
    assert found.argmax(1).tolist() == [5, 40]
    assert found.mean(1).abs().max() < 1e-4
    output = model.get_decoder().layers[1].self_attn.o_proj.weight.detach()
    rows = torch.randn(2, output.shape[1], generator=torch.Generator().manual_seed(0))
    through = tops.promoted(model, "residual.1", rows @ output.T)
    assert torch.allclose(tops.promoted(model, "heads.1", rows), through, atol=1e-5)


def test_a_model_with_more_rows_than_its_tokenizer_has_words():
    """As Qwen's: 151,936 rows, some 270 of them no token's. They are named all the same."""
    words = tokenizer(["red", "square"])
    assert len(words) == 7
    assert tops.pieces(words, np.array([5, 9, 6])) == [" red", " <9>", " square"]
    assert named(words, [6, 7]) == ["square", "<7>"]
