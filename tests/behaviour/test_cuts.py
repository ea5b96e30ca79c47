"""Interventions against plain matrices: masks written by hand, weights set to zero."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from steps.behaviour import cuts
from steps.behaviour.frozen import Batch
from steps.models import hub, load
from steps.models.sample import prompts
from steps.stage import StageError
from tests.models.foreign import llava

IMAGE = range(2, 66)
"""Where the image stands: behind `user :`."""


@pytest.fixture(scope="module")
def sight(batch):
    return cuts.sight(batch.asked["attention_mask"], batch.known)


def alone(read, i, blocked=()):
    """Chances of one answer, without padding, by eager attention without `blocked` (row, key)."""
    row = read.table.iloc[i]
    ids = prompts(read.processor, 64, [row["prompt"]], [row["response"]])["input_ids"]
    mask = torch.full((ids.shape[1],) * 2, -torch.inf).triu(1)
    for place in blocked:
        mask[place] = -torch.inf
    read.model.set_attn_implementation("eager")
    with torch.no_grad():
        logits = read.model(
            input_ids=ids,
            attention_mask=mask[None, None],
            pixel_values=load.pixels(read.pictures[[i]]),
        ).logits[0]
    read.model.set_attn_implementation("sdpa")
    return logits[-len(row["response"].split()) - 1 : -1].log_softmax(-1)


def length(read, i):
    """Tokens of one answer alone: `user :`, image, question, `assistant :`, answer."""
    row = read.table.iloc[i]
    return 66 + len(row["prompt"].split()) + 2 + len(row["response"].split())


def same(found, expected):
    torch.testing.assert_close(found[-len(expected) :], expected, atol=1e-4, rtol=0)


def test_nothing_blocked_changes_nothing(batch, sight):
    plain = batch.chances()
    none = torch.zeros_like(batch.asked["attention_mask"], dtype=torch.bool)
    for less in (sight, cuts.blocked(sight, batch.rows(batch.real), none)):
        found = batch.chances(less)
        torch.testing.assert_close(found[batch.real], plain[batch.real], atol=1e-5, rtol=0)


def test_blocked_rows_are_blind_and_the_rest_is_not(read, batch, sight):
    """The second word's row, and the last's, without any image key, in all layers."""
    picked = torch.zeros_like(batch.real)
    for row, owner in zip(picked, batch.owners, strict=True):
        row[1 - len(owner)], row[-1] = True, True
    image = torch.zeros_like(sight[:, 0, 0])
    image[:, batch.image] = True
    found, plain = batch.chances(cuts.blocked(sight, batch.rows(picked), image)), batch.chances()
    for i, row in enumerate(read.table.itertuples()):
        words, end = row.response.split(), length(read, i)
        rows = (end - len(words), end - 2)
        same(found[i], alone(read, i, [(r, k) for r in rows for k in IMAGE]))
        torch.testing.assert_close(found[i, -len(words)], plain[i, -len(words)])
    assert (found - plain)[picked].abs().max() > 1e-2


def test_hidden_tokens_are_seen_by_no_row_behind_the_image(read, batch, sight):
    values = torch.rand(len(read.table), 64, generator=torch.Generator().manual_seed(0))
    found = batch.chances(cuts.hidden(batch, sight, values, 0.25))
    for i in range(4):
        kept = values[i].argsort(descending=True)[:16].tolist()
        keys = [k for k in IMAGE if k - 2 not in kept]
        same(found[i], alone(read, i, [(r, k) for r in range(66, length(read, i)) for k in keys]))
    every = batch.chances(cuts.hidden(batch, sight, values, 1.0))
    torch.testing.assert_close(every[batch.real], batch.chances()[batch.real], atol=1e-5, rtol=0)


def test_without_any_image_key_the_answer_is_that_to_the_text_alone(read, batch, sight):
    """The same tokens at the same positions, with no image among them."""
    every = torch.ones_like(batch.user)
    image = torch.zeros_like(sight[:, 0, 0])
    image[:, batch.image] = True
    found = batch.chances(cuts.blocked(sight, every, image))
    for i, row in enumerate(read.table.itertuples()):
        ids = prompts(read.processor, 64, [row.prompt], [row.response])["input_ids"]
        places = torch.arange(ids.shape[1])
        text = ids[0] != read.model.config.image_token_id
        with torch.no_grad():
            logits = read.model(input_ids=ids[:, text], position_ids=places[None, text]).logits[0]
        same(found[i], logits[-len(row.response.split()) - 1 : -1].log_softmax(-1))


def test_a_silenced_head_is_one_whose_output_weights_are_zero(read, batch):
    heads = np.array([[False, True, False, False], [True, False, False, True]])
    other = copy.deepcopy(read.model)
    for layer, marks in zip(other.model.language_model.layers, heads, strict=True):
        for head in np.flatnonzero(marks):
            layer.self_attn.o_proj.weight.data[:, 8 * head : 8 * head + 8] = 0
    expected = Batch(other, read.processor, read.table, read.pictures).chances()
    before = batch.chances()
    with cuts.silenced(read.model, heads):
        found = Batch(read.model, read.processor, read.table, read.pictures).chances()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - before).abs().max() > 1e-2
    assert torch.equal(batch.chances(), before)  # nothing stays behind


def test_rivals_are_as_many_other_heads_of_the_same_layers():
    rng, heads = np.random.default_rng(0), np.zeros((3, 6), bool)
    heads[0, :2], heads[2, 5] = True, True
    drawn = [cuts.rivals(heads, rng) for _ in range(40)]
    assert all(not (heads & r).any() and r.sum(1).tolist() == [2, 0, 1] for r in drawn)
    assert np.any(drawn, 0)[0, 2:].all() and np.any(drawn, 0)[2, :5].all()
    heads[1, :5] = True  # one other is left in this layer: four come from elsewhere
    drawn = cuts.rivals(heads, rng)
    assert not (heads & drawn).any() and drawn.sum() == 8 and drawn[1].sum() == 1
    with pytest.raises(StageError, match="9 of 16"):
        cuts.rivals(np.arange(16).reshape(2, 8) < 9, rng)


def test_the_strongest_heads():
    score = np.array([[0.1, 0.4], [0.3, 0.2], [0.0, 0.0]])
    assert cuts.strongest(score, 0.01).tolist() == [[False, True], [False] * 2, [False] * 2]
    assert cuts.strongest(score, 0.5).tolist() == [[False, True], [True, True], [False] * 2]


def test_closed_sets_are_asked_where_nothing_before_gives_them_away(read, asked, tmp_path):
    _, table, _ = asked
    found = cuts.closed(read.processor, table)
    words = read.processor.tokenizer.convert_ids_to_tokens
    for row, ids in zip(table.itertuples(), found, strict=True):
        if row.form == "rationale" or row.kind == "fact":
            assert ids is None
        else:
            assert words(ids) == list(row.choices)
    assert any(found) and not all(found)
    # Pieces of words: only closed sets whose words begin unlike are asked.
    hub.take(str(llava(tmp_path / "llava")), None, tmp_path / "taken")
    processor = load.processor(tmp_path / "taken")
    told = processor.tokenizer(" red")["input_ids"]
    row = table[table["form"] == "answer"].iloc[[0]].copy()
    row["response"], row["depends"], row["value"] = "it is red", [[0, 0, 1]], "red"
    row["choices"] = [["red", "dog"]]
    (first,) = cuts.closed(processor, row)
    assert first[0] == told[0] and len(set(first)) == 2
    row["choices"] = [["red", "red"]]
    assert cuts.closed(processor, row) == [None]


def test_drops_by_hand():
    rows = [("none", -1.0, 1.0), ("anchors", -3.0, 0.5), ("random", -1.5, 1.0)]
    scored = pd.DataFrame(
        [
            {"item": item, "instrument": f"gaze_{name}", "logp": logp - i, "hit": hit}
            for i, item in enumerate("abc")
            for name, logp, hit in [*rows, ("heads", -2.0, 0.0), ("random_heads", -1.0, 1.0)]
            if item == "b" or "heads" not in name
        ]
    )
    found = cuts.drops(scored, np.random.default_rng(0))
    assert found["none/logp"] == -2.0 and found["none/hit"] == 1.0
    assert found["drop/anchors"] == found["drop/anchors/low"] == found["drop/anchors/high"] == 2.0
    assert found["drop/anchors-random"] == 1.5 and found["lost/anchors-random"] == 0.5
    assert found["drop/heads-random_heads"] == 1.0 and found["lost/heads"] == 1.0


def test_an_interval_is_as_wide_as_the_normal_one():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = cuts.interval(values, np.random.default_rng(1))
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
