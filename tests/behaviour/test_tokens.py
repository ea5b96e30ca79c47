"""Words tied to the image: scores by hand, planted kinds, and the stage on a tiny model."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps.behaviour import frozen, tokens
from steps.models import hub, load
from steps.models.sample import prompts
from tests.models.foreign import llava


def words(**measures):
    """Two answers of four words, the last two of which depend on the image."""
    found = pd.DataFrame({"item": ["a"] * 4 + ["b"] * 4, "depends": [False, False, True, True] * 2})
    for name in tokens.MEASURES:
        found[name] = measures.get(name, [4.0, 3.0, 2.0, 1.0] * 2)
    return found


def test_a_measure_that_knows_scores_full_marks_and_its_reverse_none():
    found = tokens.judged(
        words(density=[1, 2, 3, 4, 1, 2, 3, 4], drift=[1, 3, 2, 4, 4, 1, 2, 3]),
        0.5,
        tokens.MEASURES,
    ).set_index(["item", "instrument"])
    assert found.loc[("a", "tokens_density")].tolist() == [1.0, 1.0, 1.0]
    assert found.loc[("a", "tokens_entropy")].tolist() == [0.0, 0.0, 0.0]
    assert found.loc[("a", "tokens_drift")].tolist() == [0.75, 0.5, 0.5]
    assert found.loc[("b", "tokens_drift"), "auroc"] == 0.5


def test_overlaps_by_hand():
    found = tokens.overlaps(words(density=[1, 2, 3, 4] * 2, drift=[1, 4, 2, 3] * 2), 0.5)
    assert found == {"density_drift": 1 / 3, "density_entropy": 0.0, "drift_entropy": 1 / 3}


def test_two_kinds_are_found_where_there_are_two():
    rng = np.random.default_rng(0)
    one = tokens.two_kinds(np.exp(rng.normal(0, 0.5, 4000)))
    assert one["bic"] < 10
    low, high = rng.normal(-1, 0.3, 3400), rng.normal(1.5, 0.3, 600)
    two = tokens.two_kinds(np.exp(np.concatenate([low, high])))
    assert two["bic"] > 1000 and two["apart"] > 5
    assert two["share"] == pytest.approx(0.15, abs=0.01)


@pytest.fixture
def told():
    return SimpleNamespace(items=9, share=0.25, layers=[0, 1], batch=4)


def test_words_are_read_where_they_are_predicted(asked, told):
    """Entropy and drift of each word, against passes over one answer at a time without padding."""
    folder, table, pictures = asked
    model, processor = load.vlm(folder / "model"), load.processor(folder / "model")
    for weights in model.parameters():
        weights.data.mul_(3.0)  # else every distribution is flat
    some = table.iloc[:6]
    found = tokens.measured(
        model, processor, some, pictures, told, torch.Generator().manual_seed(0)
    )
    see = load.reader(processor.image_processor)
    for row, picture in zip(some.itertuples(), pictures, strict=False):
        part = found[found["item"] == row.item]
        assert part["word"].tolist() == row.response.split()
        assert part["depends"].tolist() == [bool(d) for d in row.depends]
        asked_one = prompts(processor, 64, [row.prompt], [row.response])
        with torch.no_grad():
            logits = model(**asked_one, pixel_values=see(picture[None])).logits[0]
        chances = logits[-len(part) - 1 : -1].log_softmax(-1)
        entropy = -(chances.exp() * chances).sum(-1)
        np.testing.assert_allclose(part["entropy"], entropy, rtol=1e-4)
        assert (part["density"] > 0).all() and (part["drift"] >= -1e-6).all()
    assert found["drift"].max() > 1e-6
    words = tokens.measured(model, processor, some, None, told)
    assert (words["density"] > 0).all() and words["word"].tolist() == found["word"].tolist()
    assert not np.allclose(words["density"], found["density"])
    blind = tokens.measured(model, processor, some, pictures, told)
    assert "drift" not in blind and np.allclose(blind["density"], found["density"])


def test_stage_keeps_every_word(asked, told, tmp_path):
    folder, table, _ = asked
    who = SimpleNamespace(study="s", base="b", arm="none", seed=3)
    given = {"items": folder / "items", "model": folder / "model"}
    metrics = tokens.run(SimpleNamespace(tokens=told, run=who), given, tmp_path)
    kept = pd.read_parquet(tmp_path / "tokens.parquet")
    items = pd.read_parquet(tmp_path / "items.parquet")
    assert list(items.columns[:6]) == ["study", "base", "arm", "seed", "instrument", "item"]
    assert items.groupby("instrument").size().to_dict() == {
        f"tokens_{name}": 9 for name in tokens.MEASURES
    }
    assert kept.groupby("item")["depends"].agg(["any", "all"]).eq([True, False]).all(None)
    assert metrics["tokens/density/auroc"] == pytest.approx(
        items.query("instrument == 'tokens_density'")["auroc"].mean()
    )
    assert metrics["tokens/untrained/density/other"] == pytest.approx(1.0, abs=0.1)
    again = tokens.rescored(SimpleNamespace(tokens=told, run=who), {}, tmp_path, tmp_path)
    nulls = ("tokens/text/", "tokens/untrained/")
    assert again == {k: v for k, v in metrics.items() if not k.startswith(nulls)}
    assert tokens.run(SimpleNamespace(tokens=told, run=who), given, tmp_path) == metrics


def test_words_of_several_tokens(asked, tmp_path):
    """A foreign tokenizer: each token belongs to one word, in order, and none is left out."""
    _, table, _ = asked
    hub.take(str(llava(tmp_path / "llava")), None, tmp_path / "taken")
    processor = load.processor(tmp_path / "taken")
    some = table.iloc[:8]
    found, owners, _ = frozen.asked(processor, 16, some)
    split = False
    for row, ids, owner in zip(some.itertuples(), found["input_ids"], owners, strict=True):
        words = row.response.split()
        assert sorted(set(owner)) == list(range(len(words))) and (np.diff(owner) >= 0).all()
        pieces = [
            "".join(processor.tokenizer.decode(ids[-len(owner) :][owner == w]).split())
            for w in range(len(words))
        ]
        assert pieces == words
        split |= len(owner) > len(words)
    assert split
