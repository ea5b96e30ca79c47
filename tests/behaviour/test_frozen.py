"""Frozen answers: which tokens are whose, and what a batch says of them."""

import json

import numpy as np
import pytest
import torch

from steps.behaviour import frozen
from steps.models import hub, load
from steps.models.sample import prompts
from tests.models.foreign import llava


def alone(read, i):
    """One answer by itself, without padding: ids and pixels, as the model takes them."""
    row = read.table.iloc[i]
    told = prompts(read.processor, 64, [row["prompt"]], [row["response"]])
    return dict(told) | {"pixel_values": load.pixels(read.pictures[[i]])}


def test_only_answers_with_words_of_both_sorts(asked, read):
    _, table, pictures = asked
    marks = [[bool(d) for d in row] for row in read.table["depends"]]
    assert len(marks) == 8 and all(any(row) and not all(row) for row in marks)
    np.testing.assert_array_equal(read.pictures, pictures[read.table["image"]])


def test_a_batch_says_what_each_answer_alone_says(read):
    batch = frozen.Batch(read.model, read.processor, read.table, read.pictures)
    chances = batch.chances()
    logp, hit = batch.judged(chances)
    for i, row in enumerate(read.table.itertuples()):
        told, words = alone(read, i), row.response.split()
        with torch.no_grad():
            logits = read.model(**told).logits[0, -len(words) - 1 : -1]
        torch.testing.assert_close(
            chances[i, -len(words) :], logits.log_softmax(-1), atol=1e-4, rtol=0
        )
        ids, tied = told["input_ids"][0, -len(words) :], np.flatnonzero(row.depends)
        every = logits.double().log_softmax(-1)[range(len(words)), ids]
        assert logp[i] == pytest.approx(float(every[tied].sum()), abs=1e-3)
        assert hit[i] == pytest.approx(float((logits.argmax(-1) == ids)[tied].float().mean()))
        assert batch.real[i].sum() == len(words) and batch.tied[i].sum() == len(tied)
    some = np.array([3, 1])
    torch.testing.assert_close(batch.chances(some=some), chances[some], atol=1e-5, rtol=0)


def test_a_word_of_several_tokens_is_likeliest_where_all_are(read):
    batch = frozen.Batch(read.model, read.processor, read.table.iloc[:1], read.pictures[:1])
    told = batch.asked["input_ids"][:, -6:]
    batch.owners, batch.depends = [np.array([0, 1, 1, 2, 2, 2])], [np.array([False, True, True])]
    batch.tied = torch.tensor([[False, True, True, True, True, True]])
    chances = torch.full((1, 6, 200), -9.0).scatter(-1, told[..., None], -1.0)
    chances[0, 4, 1] = 0.0  # the middle of the last word
    logp, hit = batch.judged(chances)
    assert logp.tolist() == [-5.0] and hit.tolist() == [0.5]


def test_the_words_of_the_user_are_marked(asked, read, tmp_path):
    """Neither the template's own words nor the answer: with a word a token, and with pieces."""
    hub.take(str(llava(tmp_path / "llava")), None, tmp_path / "taken")
    some = asked[1].iloc[:8]
    for processor in (read.processor, load.processor(tmp_path / "taken")):
        ids, _, user = frozen.asked(processor, 16, some)
        for row, token, mark in zip(some.itertuples(), ids["input_ids"], user, strict=True):
            said = processor.tokenizer.decode(token[mark])
            assert said.replace(" ", "") == row.prompt.replace(" ", "")


def test_rows_predict_the_next_token(read):
    batch = frozen.Batch(read.model, read.processor, read.table, read.pictures)
    rows = batch.rows(batch.real)
    predicted = batch.asked["input_ids"][:, batch.known + 1 :][rows[:, :-1]]
    answers = batch.asked["input_ids"][:, -batch.real.shape[1] :][batch.real]
    assert torch.equal(predicted, answers) and rows.shape == batch.user.shape
    assert not (batch.user & rows).any()


def test_a_scene_in_words_takes_the_images_place(asked):
    """The marked tokens are the twin, the owners are the response's words, and no image is left."""
    folder, table, _ = asked
    processor = load.processor(folder / "model")
    some = table.iloc[:6]
    found, owners, region = frozen.in_words(processor, some)
    rows = zip(some.itertuples(), found["input_ids"], owners, region, strict=True)
    for row, ids, owner, marks in rows:
        told = processor.tokenizer.decode(ids[marks]).split()
        things = json.loads(row.truth)["things"]
        assert told[:2] == ["scene", ":"] and told[-1] == "."
        assert {w for name, place in things for w in (*name.split(), *place.split())} <= set(told)
        assert (owner == np.arange(len(row.response.split()))).all()
        assert processor.tokenizer.decode(ids[-len(owner) :]) == row.response
    assert not (found["input_ids"] == processor.tokenizer.convert_tokens_to_ids("<image>")).any()
