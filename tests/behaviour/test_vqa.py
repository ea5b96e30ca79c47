"""Question answering: scores follow the parser, blindness is real, batches change nothing."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps.behaviour import vqa
from steps.models import load
from steps.models.look import Looked


def test_stage_writes_the_contract(asked, tmp_path):
    folder, table, _ = asked
    section = SimpleNamespace(items="vqa", batch=8, max_tokens=4, blind=10, margin=True)
    who = SimpleNamespace(study="s", base="b", arm="none", seed=3)
    metrics = vqa.run(
        SimpleNamespace(vqa=section, run=who),
        {"items": folder / "items", "model": folder / "model"},
        tmp_path,
    )
    items = pd.read_parquet(tmp_path / "items.parquet")
    contract = ["study", "base", "arm", "seed", "instrument", "item", "raw", "strict", "lenient"]
    assert list(items.columns[:9]) == contract
    counts = items["instrument"].value_counts().to_dict()
    assert counts == {"vqa": 24, "vqa_grey": 10, "vqa_swapped": 10}
    assert metrics["vqa/lenient"] == items.query("instrument == 'vqa'")["lenient"].mean()
    assert (items["strict"] <= items["lenient"]).all()
    assert {"vqa/margin", "vqa/ill_formed", "vqa/kind/glyph/lenient"} <= set(metrics)


def test_reference_answers_score_full_marks_and_wrong_ones_none(asked):
    _, table, _ = asked
    right = vqa.score(table, table["response"].tolist())
    assert right["lenient"].all() and right["strict"].all() and right["well_formed"].all()
    wrong = [next(c for c in row.choices if c != row.value) for row in table.itertuples()]
    assert not vqa.score(table, wrong)["lenient"].any()
    said = [f"well {row.value}" for row in table.itertuples()]
    loose = vqa.score(table, said)
    assert loose["lenient"].all() and not loose["strict"].any() and not loose["well_formed"].any()


def test_swapped_images_are_of_the_same_kind_and_never_the_own(asked):
    _, table, _ = asked
    marks = np.arange(len(table))[:, None]
    order = vqa.swapped(table, marks)[:, 0]
    assert (order != np.arange(len(table))).all()
    assert (table["kind"].to_numpy()[order] == table["kind"].to_numpy()).all()
    assert sorted(order) == list(range(len(table)))


def test_batches_do_not_change_answers_or_margins(asked):
    folder, table, images = asked
    model, processor = load.vlm(folder / "model"), load.processor(folder / "model")
    one, alone = vqa.ask(model, processor, table, images, 1, 5, True)
    many, together = vqa.ask(model, processor, table, images, 16, 5, True)
    assert one == many and any(one)
    assert alone == pytest.approx(together, abs=1e-4)
    assert np.isnan(vqa.ask(model, processor, table, images, 16, 1)[1]).all()


def test_margin_is_the_log_odds_at_the_answer_word(asked):
    folder, table, images = asked
    model, processor = load.vlm(folder / "model"), load.processor(folder / "model")
    i = int(np.flatnonzero(table["form"] == "answer")[0])
    row = table.iloc[i]
    lead = "answer : " if row["style"] == "a" else "the answer is "
    text = f"user : {'<image>' * 64} {row['prompt']} assistant : {lead}"
    ids = processor.tokenizer(text.strip(), return_tensors="pt")
    with torch.no_grad():
        out = model(**ids, pixel_values=load.pixels(images[i : i + 1])).logits[0, -1]
    known = processor.tokenizer.convert_tokens_to_ids(list(row["choices"]))
    chance = out.double()[known].softmax(0)
    true = chance[list(row["choices"]).index(row["value"])].item()
    seen = Looked(model, processor, images[[i]])
    margin = vqa.margins(seen, table.iloc[[i]])[0]
    assert margin == pytest.approx(np.log(true / (1 - true)), abs=1e-4)
