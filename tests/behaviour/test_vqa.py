"""Question answering: scores follow the parser, blindness is real, batches change nothing."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps import params
from steps.behaviour import coherence, vqa
from steps.data.far import crowded, reworded
from steps.data.items import draw
from steps.data.paint import render
from steps.models import load
from steps.models.look import Looked


def test_stage_writes_the_contract(asked, tmp_path):
    folder, table, _ = asked
    section = SimpleNamespace(items="vqa", batch=8, max_tokens=4, blind=10, margin=True)
    who = SimpleNamespace(study="s", base="b", arm="none", seed=3)
    told, given = SimpleNamespace(vqa=section, run=who), {"items": folder / "items"}
    metrics = vqa.run(told, {**given, "model": folder / "model"}, tmp_path)
    items = pd.read_parquet(tmp_path / "items.parquet")
    assert vqa.rescored(told, given, tmp_path, tmp_path) == metrics
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "items.parquet"), items)
    contract = ["study", "base", "arm", "seed", "instrument", "item", "raw", "strict", "lenient"]
    assert list(items.columns[:9]) == contract
    counts = items["instrument"].value_counts().to_dict()
    assert counts == {"vqa": 24, "vqa_grey": 10, "vqa_swapped": 10}
    assert metrics["vqa/lenient"] == items.query("instrument == 'vqa'")["lenient"].mean()
    assert (items["strict"] <= items["lenient"]).all()
    assert {"vqa/margin", "vqa/ill_formed", "vqa/kind/glyph/lenient"} <= set(metrics)
    assert not any(name.startswith(("vqa/ladder", "vqa/far")) for name in metrics)
    judged = items[coherence.JUDGED].notna().any(axis=1)
    wanted = (items["instrument"] == "vqa") & (items["form"] == "rationale")
    assert judged.equals(wanted & (items["kind"] != "fact")) and judged.any()
    untold = items.loc[judged, "follows"].isna().mean()
    assert metrics["vqa/coherence/open"] == pytest.approx(untold)


def test_far_questions_are_asked_where_arms_are_judged(asked, tmp_path):
    folder, _, _ = asked
    given = {"items": tmp_path / "items", "model": folder / "model"}
    shutil.copytree(folder / "items", given["items"])
    world = crowded(params.load().world)
    rows, scenes = draw(world, np.random.default_rng(1), 16, "test", True, 0.5, reworded)
    table = pd.DataFrame(rows)
    table.insert(0, "item", [f"far{i}" for i in range(16)])
    table.to_parquet(given["items"] / "far.parquet")
    np.save(given["items"] / "far_images.npy", render(world, scenes)[0])
    for suffix in (".parquet", "_images.npy"):
        shutil.copy(given["items"] / f"vqa{suffix}", given["items"] / f"tune{suffix}")
    who = SimpleNamespace(study="s", base="b", arm="none", seed=3)
    found = {}
    for name in ("vqa", "tune"):
        section = SimpleNamespace(items=name, batch=8, max_tokens=3, blind=0, margin=False)
        metrics = vqa.run(SimpleNamespace(vqa=section, run=who), given, tmp_path)
        found[name] = metrics, pd.read_parquet(tmp_path / "items.parquet")
        again = vqa.rescored(SimpleNamespace(vqa=section, run=who), given, tmp_path, tmp_path)
        assert again == metrics
    metrics, items = found["vqa"]
    assert items["instrument"].value_counts().to_dict() == {"vqa": 24, "vqa_far": 16}
    assert items["item"].iloc[24:].tolist() == table["item"].tolist()
    known = coherence.judged(table, items["raw"].iloc[24:].tolist())
    pd.testing.assert_frame_equal(items.loc[24:, coherence.JUDGED].reset_index(drop=True), known)
    ladder = {name for name in metrics if name.startswith("vqa/ladder/")}
    assert ladder == {"vqa/ladder/1/lenient", "vqa/ladder/3/lenient"}  # nothing is novel here
    assert {f"vqa/far/kind/{kind}/lenient" for kind in table["kind"]} <= set(metrics)
    assert set(found["tune"][1]["instrument"]) == {"vqa"}
    assert not any("far" in name or "ladder" in name for name in found["tune"][0])


def test_ladder_by_hand():
    rows = pd.DataFrame(
        [
            ["vqa", "color", False, 1],
            ["vqa", "fact", False, 0],
            ["vqa", "color", True, 1],
            ["vqa", "shape", True, 0],
            ["vqa_grey", "color", True, 0],
            ["vqa_far", "color", True, 0],
            ["vqa_far", "fact", True, 1],
        ],
        columns=["instrument", "kind", "novel", "lenient"],
    )
    rows[coherence.JUDGED] = np.nan
    low = {"vqa/ladder/1/lenient": 1.0, "vqa/ladder/2/lenient": 0.5}
    high = {"vqa/ladder/3/lenient": 0.0}
    kinds = {"vqa/far/kind/color/lenient": 0.0, "vqa/far/kind/fact/lenient": 1.0}
    assert vqa.ladder(rows) == low | high | kinds
    assert vqa.ladder(rows.iloc[:5]) == low
    assert vqa.ladder(rows.iloc[:2]) == {}


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


def test_of_several_questions_about_one_image_none_is_shown_it_again():
    shown = [0, 0, 1, 1, 2, 0]
    table = pd.DataFrame({"image": shown, "kind": ["a", "a", "a", "b", "c", "c"]})
    pictures = np.array(shown, np.uint8)[:, None, None, None].repeat(3, 3)
    found = vqa.swapped(table, pictures)[:, 0, 0, 0]
    assert all(one != other for one, other in zip(found, shown, strict=True))
    alone = table.assign(image=0)
    assert (vqa.swapped(alone, np.zeros_like(pictures)) == 0).all()  # there is no other image


def test_one_s_own_questions_are_scored_by_their_reward():
    told = {"item": ["p", "q", "r"], "kind": "own", "form": "own", "style": "own", "novel": False}
    told |= {"value": ["5", "blue", "cat"], "choices": [[], ["red", "blue"], []], "prompt": "?"}
    rows = pd.DataFrame(told | {"reward": ["numeric", "choice", "exact"]})
    scored = vqa.score(rows, ["it is 5.0", "B", "Answer: dog"])
    assert list(scored["lenient"]) == [1, 1, 0] and list(scored["strict"]) == [0, 1, 0]
    assert list(scored["well_formed"]) == [0, 1, 1] and list(scored["answer"])[1:] == [
        "blue",
        "dog",
    ]
    assert scored["lenient"].dtype == int
