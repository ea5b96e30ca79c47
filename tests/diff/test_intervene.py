"""Interventions on planted truth: what carries the answer is found, what does not is not."""

import copy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps.data.speech import RELATIONS
from steps.diff import intervene, reading
from steps.diff.acts import behind, edits, examine, outcomes, removal
from steps.diff.acts.behind import Questions, answers

CARRIERS = ("red", "green", "blue", "yellow")
READ, UNREAD, SHIFT = range(4), 4, 5  # features: one a relation, one of no use, one that biases
WIDTH, LATENTS = 24, 80


def questions(processor, model, each, seed):
    """Images of noise, and an answer that begins with the word that carries the relation."""
    rng = np.random.default_rng(seed)
    true = np.tile(np.arange(4), each)
    images = rng.integers(0, 256, (len(true), 64, 64, 3), dtype=np.uint8)
    prompts = ["is it red ?", "what color is the small ball ?"] * (len(true) // 2)
    begun = [CARRIERS[i] for i in true]
    tokens = model.config.image_seq_length
    asked = reading.asked(processor, tokens, prompts, begun, images=images)
    choices = reading.words(processor, RELATIONS).expand(len(true), -1)
    return Questions(asked, choices, true, np.array(RELATIONS)[true])


@pytest.fixture(scope="module")
def planted(vlm):
    """A model in which a direction each carries and decides a relation, and one favours `left`.

    The dictionary's first features are these, but for number 4 along which nothing is read; the
    other features' directions are orthogonal to all of them.
    """
    model, processor = copy.deepcopy(vlm[0]), vlm[1]
    g = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=g))
    basis = basis.T.contiguous()  # rows: the planted six, then what is left
    token = processor.tokenizer.convert_tokens_to_ids
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
        embedded = model.get_input_embeddings().weight
        for number, (word, name) in enumerate(zip(CARRIERS, RELATIONS, strict=True)):
            embedded[token(word)] += 3 * basis[number] + 1.5 * basis[SHIFT] + basis[UNREAD]
            model.lm_head.weight[token(name)] += basis[number]
        model.lm_head.weight[token("left")] += basis[SHIFT]
        loud = model.model.language_model.layers.parameters()
        for weight in loud:
            weight.mul_(0.5 if weight.ndim > 1 else 1)
    rows = torch.randn(LATENTS, WIDTH - 6, generator=g) @ basis[6:]
    rows = torch.cat([basis[:6], rows / rows.norm(dim=1, keepdim=True)])
    weights = {"W_dec": rows, "W_enc": rows.T.contiguous(), "b_enc": torch.zeros(len(rows))}
    weights["b_dec"] = torch.zeros(WIDTH)
    marks = SimpleNamespace(weights=weights, codes=lambda x: (x @ weights["W_enc"]).relu())
    marks.to = lambda device: marks
    return model, processor, marks


@pytest.fixture(scope="module")
def examined(planted):
    model, processor, marks = planted
    select, report = (questions(processor, model, 12, seed) for seed in (0, 1))
    others = Questions(
        report.asked, reading.words(processor, ["yes", "no"]).expand(48, -1), report.true % 2,
        np.full(48, "existence"),
    )  # fmt: skip
    counts = [outcomes.resampled(some.kind, 0) for some in (report, others)]
    ranked = pd.DataFrame({"feature": [0, 1, UNREAD, SHIFT, 30, 31, 32, 33, 34]})
    ranked["relation"] = ["left", "right", "left", "left", *["above"] * 5]
    ranked["selected"] = [True] * 4 + [False] * 5
    ranked["adapted"] = [1.0] * 4 + [0.0] * 5
    want = SimpleNamespace(features=4, foils=60, doses=[-2, -1, 1, 2], groups=[1, 2, 50], batch=20)
    asked = examine.Asked(select, report, others, *counts)
    return examine.examine(
        model, model, processor, "residual.0", marks, ranked, asked, want, seed=0
    )


def test_the_planted_model_answers_right(planted):
    model, processor, marks = planted
    some = questions(processor, model, 12, 1)
    found = answers(model, processor, some, 0, [], marks, 20)
    assert (found.scores[0].argmax(1) == some.true).mean() > 0.7


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("form", edits.FORMS)
def test_layers_behind_alone_give_what_whole_passes_give(vlm, planted, layer, form):
    """The shortcut against `hooks.edit`: edits of words behind the image alone, any padding."""
    model, processor = vlm
    marks = planted[2]
    some = questions(processor, model, 2, 3)
    edit = edits.removal("x", 0, form, marks.weights["W_dec"], [0, 7])
    found = answers(model, processor, some, layer, [edit], marks, 5)

    def whole(start, rows):
        words = (rows.types >= reading.QUESTION)[..., None]

        def change(x):
            return torch.where(words, edit.apply(x, marks.codes(x)), x)

        places = range(layer, 2) if form == "onward" else [layer]
        return {f"residual.{number}": change for number in places}

    passes = reading.read(model, processor, some.asked, edits=whole)
    logits = torch.cat([seen.logits for seen in passes]).gather(1, some.choices).double().numpy()
    assert np.allclose(found.scores[1], logits, atol=2e-5)
    assert np.abs(found.scores[1] - found.scores[0]).max() > 1e-3  # it did change something


def test_a_zero_edit_changes_nothing_bit_for_bit(planted):
    model, processor, marks = planted
    some = questions(processor, model, 2, 3)
    row = marks.weights["W_dec"][0]
    same = edits.addition("x", 0, 0.0, 1.0, row)
    silent = marks.weights["W_enc"] * 0  # no feature fires: nothing to subtract
    mute = SimpleNamespace(codes=lambda x: x @ silent)
    gone = edits.removal("x", 0, "subtract", marks.weights["W_dec"], [0])
    for wanted, dictionary in ((same, marks), (gone, mute)):
        found = answers(model, processor, some, 0, [wanted], dictionary, 8)
        assert np.array_equal(found.scores[0], found.scores[1])
        assert found.apart < 1e-4


def test_a_model_whose_layers_do_more_is_refused(planted, monkeypatch):
    model, processor, marks = planted
    monkeypatch.setattr(behind, "NEAR", 0.0)
    with pytest.raises(behind.StageError, match="leave intervene out"):
        answers(model, processor, questions(processor, model, 1, 3), 0, [], marks, 8)


def test_a_group_leaves_nothing_in_its_span(planted):
    rows = planted[2].weights["W_dec"]
    several = torch.cat([rows[6:9], rows[6:7]])  # one twice: the span has three dimensions
    edit = edits.removal("group", 4, "project", several, range(4))
    x = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1))
    left = edit.apply(x, x)
    assert (left @ several.T).abs().max() < 1e-5
    kept = left @ rows[:1].T - x @ rows[:1].T  # orthogonal to the group
    assert kept.abs().max() < 1e-5


def test_a_direction_that_carries_the_answer_is_found_beyond_its_foils(examined):
    table = examined["removal"].query("form == 'project'").set_index("feature")
    for feature in (0, 1):
        assert table.loc[feature, "counts"] and table.loc[feature, "drop_low"] > 0
        assert table.loc[feature, "p_adjusted"] <= removal.RATE
    assert table["foils"].eq(60).all()


def test_a_direction_that_nothing_reads_is_not(examined):
    table = examined["removal"].set_index("feature").loc[UNREAD]
    assert not table["counts"].any() and not table["beyond"].any()


def test_a_word_said_less_everywhere_is_no_knowledge_lost(examined):
    """Selective by true margins, since scenes with other answers gain; but nothing comes apart."""
    row = examined["removal"].query("form == 'project'").set_index("feature").loc[SHIFT]
    assert row["selective"] > 0.2 and row["beyond"]
    assert row["separation"] < 0.25 * row["selective"] and not row["counts"]


def test_the_dose_raises_the_relation_it_stands_for(examined):
    table = examined["doses"].set_index("feature")
    for feature in (0, 1, SHIFT):
        assert table.loc[feature, "up"] == 1 and table.loc[feature, "low"] > 0
        assert table.loc[feature, "quantile"] > 0.95
    assert not table.loc[1, "hurts_both"] and table.loc[1, "plus"] > 0 > table.loc[1, "minus"]
    assert abs(table.loc[UNREAD, "slope"]) < 0.2 * table.loc[0, "slope"]
    rows = examined["effects"].query("asked == 'toward left' and role == 'chosen' and name == 0")
    assert rows.sort_values("amount")["change"].is_monotonic_increasing and len(rows) == 4


def test_groups_beat_groups_of_foils_and_what_is_too_large_has_no_row(examined):
    table = examined["groups"]
    assert sorted(set(table["size"])) == [1, 2] and table["draws"].eq(20).all()
    both = table[(table["size"] == 2) & (table["form"] == "project")].iloc[0]
    assert both["quantile"] == 1 and both["drop_low"] > 0 and both["selected"] == 2


def test_the_same_model_twice_has_a_ratio_of_one(examined):
    table = examined["transfer"].set_index("feature")
    assert table.loc[[0, 1], "ratio"].to_numpy() == pytest.approx(1)
    assert np.isnan(table.loc[UNREAD, "ratio"]) or table.loc[UNREAD, "drop_tuned"] > 0


def test_an_edit_that_makes_the_model_say_one_word_is_flagged(planted):
    model, processor, marks = planted
    some = questions(processor, model, 12, 1)
    row, unread = marks.weights["W_dec"][0], marks.weights["W_dec"][UNREAD]
    plan = [edits.addition("x", 0, 1.0, 40.0, row), edits.addition("x", 1, 1.0, 0.1, unread)]
    found = answers(model, processor, some, 0, plan, marks, 20)
    counts = outcomes.resampled(some.kind, 0)
    table = outcomes.effects(plan, found, some, counts, "relation", processor.tokenizer)
    table = table[table["asked"] == "relation"].set_index("name")
    assert table.loc[0, "collapsed"] and not table.loc[1, "collapsed"]
    assert table.loc[0, "answer_after"] == "left" and table.loc[0, "commonest_after"] == 1
    assert table.loc[0, "balanced_after"] == 0.25


def test_the_stage_writes_its_tables(vlm, planted, world, tmp_path, monkeypatch):
    model, processor, marks = planted
    for which, one in (("aligned", vlm[0]), ("instruct", model)):
        one.save_pretrained(tmp_path / "base" / which)
        processor.save_pretrained(tmp_path / "base" / which)
    rng, kinds = np.random.default_rng(0), {"existence": ["yes", "no"], "size": ["small", "large"]}
    rows = [
        {"kind": kind, "value": words[i % 2], "choices": words, "image": i, "style": "ab"[i % 2],
         "form": ("word", "answer")[i // 2 % 2], "prompt": "is it red ?"}
        for kind, words in kinds.items() for i in range(12)
    ]  # fmt: skip
    (tmp_path / "tables").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "tables" / "vqa.parquet")
    images = rng.integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    np.save(tmp_path / "tables" / "vqa_images.npy", images)
    spatial = pd.DataFrame({"site": "residual.0", "feature": np.arange(40)})
    spatial["relation"] = (*RELATIONS, "horizontal") * 8
    spatial["auroc_select"], spatial["selected"] = 0.6, False
    spatial = pd.concat([spatial, spatial.head(1).assign(site="heads.0")])
    spatial.to_parquet(tmp_path / "tables" / "spatial.parquet")
    compare = pd.DataFrame({"site": "residual.0", "feature": np.arange(40), "beyond_x": np.nan})
    compare.to_parquet(tmp_path / "tables" / "features.parquet")
    monkeypatch.setattr(intervene.saved, "load", lambda path: marks)
    want = SimpleNamespace(
        features=2, foils=25, doses=[-1, 1], groups=[1, 2], scenes=96, items=20, batch=32
    )
    params = SimpleNamespace(
        world=world, intervene=want, run=SimpleNamespace(seed=0, threads=1, checkpoints=None)
    )
    inputs = dict.fromkeys(("items", "dictionary", "compare", "spatial"), tmp_path / "tables")
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        runs.append(intervene.run(params, inputs | {"base": tmp_path / "base"}, tmp_path / name))
    assert runs[0] == runs[1]
    assert runs[0]["intervene/residual.0/chosen"] == 2
    assert runs[0]["intervene/residual.0/selected"] == 0
    assert np.isfinite(list(runs[0].values())).all()
    assert not [name for name in runs[0] if "heads" in name]
    for name in examine.TABLES:
        tables = [pd.read_parquet(tmp_path / run / f"{name}.parquet") for run in ("one", "two")]
        assert len(tables[0]) and tables[0].equals(tables[1])
    pictures = [(tmp_path / run / "dose.png").read_bytes() for run in ("one", "two")]
    assert pictures[0] == pictures[1]
    asked = set(pd.read_parquet(tmp_path / "one" / "effects.parquet")["asked"])
    assert {"left", "relation", "existence", "size", "others"} <= asked
