"""The stage, on features that are planted and with a tiny model that reads."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from steps.diff import reading, relations, spatial
from steps.diff.sae import topk
from steps.diff.sae.saved import Dictionary
from steps.diff.space import passes
from steps.diff.space.pooled import Writer, pooled
from steps.stage import StageError

WIDTH = 60
LEFT, LEXICAL, RED, WORD = range(4)
SITE = "residual.0"


class Plain:
    """Stands for a dictionary: its own weights, the k largest a token."""

    def __init__(self, d, width, seed, k=4):
        self.weights, self.k = topk.start(torch.zeros(1, d), width, torch.Generator()), k
        generator = torch.Generator().manual_seed(seed)
        self.weights["W_enc"] = torch.randn(d, width, generator=generator)

    def to(self, device):
        return self

    def codes(self, x):
        return Dictionary(self.weights, "topk", self.k, None, {}).codes(x)


class Same(Plain):
    """A dictionary whose features are the numbers that it is given."""

    def codes(self, x):
        return x.relu()


def planted(related, rng):
    """Stands for passes.Reader: one token of WIDTH numbers a question, some of them known.

    LEFT tells that the answer is `left`, LEXICAL that a word comes first among the two names, RED
    that the first object is red, WORD that the answer said is `left`; the rest is sparse noise.
    """
    table = related.table
    first = (table["first"] < table["second"]).to_numpy()
    red = (table["first_color"] == "red").to_numpy()

    class Reader:
        def __init__(self, folder, batch):
            self.tuned = folder.name == "instruct"

        def read(self, prompts, writers, images=None, answers=None, stories=None):
            n = len(prompts)
            turned = prompts == list(table["exchanged"])
            mirror = images is not None and np.array_equal(images, related.mirrors)
            truth = table["mirrored" if mirror else "relation"]
            truth = truth.map(relations.OPPOSITE) if turned else truth
            x = np.where(rng.random((n, WIDTH)) < 0.3, rng.random((n, WIDTH)), 0)
            x[:, LEFT] += (truth == "left") & self.tuned
            x[:, LEXICAL] += 2.0 * (first ^ turned)
            x[:, RED] += 2.0 * red
            said = x.copy()
            said[:, WORD] = 0 if answers is None else [answer == "left" for answer in answers]
            found = {}
            for name, writer in writers.items():
                made = {
                    way: writer.codes(torch.tensor(said if way == "answer" else x).float()).numpy()
                    for way in writer.ways
                }
                found[name] = made
            return found

    return Reader


def asked(world, scenes):
    spatial_keys = {"permutations": 30, "high": 0.8, "low": 0.6, "alpha": 0.05, "batch": 32}
    return SimpleNamespace(
        world=world,
        run=SimpleNamespace(seed=1, threads=1),
        spatial=SimpleNamespace(scenes=scenes, **spatial_keys),
    )


@pytest.fixture
def inputs(tmp_path):
    """Folders with the names of dictionaries, and what compare leaves of their features."""
    for name in ("S", "D", "M", "MF"):
        (tmp_path / "dictionary" / SITE / name).mkdir(parents=True)
    compare = tmp_path / "compare"
    compare.mkdir()
    frame = pd.DataFrame({"site": SITE, "feature": range(WIDTH)})
    frame["beyond_x"] = frame["feature"] % 5 == 0
    frame["beyond_y"] = frame["feature"] % 4 == 0
    frame["corner"] = frame["beyond_x"] & frame["beyond_y"]
    frame.to_parquet(compare / "features.parquet")
    (tmp_path / "out").mkdir()
    return {"base": tmp_path / "base", "dictionary": tmp_path / "dictionary", "compare": compare}


def test_what_is_planted_comes_out(world, inputs, tmp_path, monkeypatch):
    params = asked(world, 320)
    related = relations.draw(world, 1, 320)
    monkeypatch.setattr(passes, "Reader", planted(related, np.random.default_rng(0)))
    monkeypatch.setattr(passes.saved, "load", lambda path: Same(WIDTH, WIDTH, 0))
    mean = torch.nn.functional.one_hot(torch.tensor(LEFT), WIDTH).float()
    (inputs["compare"] / SITE).mkdir()
    save_file({"difference.mean": mean}, inputs["compare"] / SITE / "lens.safetensors")
    out = tmp_path / "out"
    metrics = spatial.run(params, inputs, out)
    assert all(np.isfinite(value) for value in metrics.values())
    found = {name.removeprefix(f"spatial/{SITE}/"): value for name, value in metrics.items()}
    table = pd.read_parquet(out / "spatial.parquet").set_index(["feature", "relation"])
    left = table.loc[(LEFT, "left")]
    assert left["selected"] and left["selective"] and left["kind"] == "relation"
    assert left["auroc"] > 0.9 and left["attribute_auroc"] < 0.6 and left["follows"] > 0.5
    assert left["before"] < 0.65 and not left["before_selected"]
    assert not table["selective"].drop((LEFT, "left")).any()
    red = table.loc[(RED, "left")]
    assert red["attribute"] == "color red" and red["attribute_auroc"] > 0.9
    assert found["best/left"] > 0.9 > found["permuted/left"] > 0.5
    assert found["agreement_p/horizontal"] == pytest.approx(1 / 31)
    assert found["agreement/horizontal"] > found["agreement_before/horizontal"] + 0.1
    assert found["best_p/left"] == pytest.approx(1 / 31)
    assert found["selective"] == 1 and 1 <= found["selected"] <= 3
    assert found["baseline/difference_mean/left"] > 0.9
    for name in ("class_means", "ceiling"):
        assert found[f"baseline/{name}/left"] > 0.8
    missing = json.loads((out / "untestable.json").read_text())[SITE]
    assert "chosen" in missing and "difference" not in missing
    assert metrics[f"spatial/{SITE}/untestable"] == len(missing)
    scenes = pd.read_parquet(out / "scenes.parquet")
    some = scenes[(scenes["feature"] == LEFT) & (scenes["relation"] == "left")]
    means = some.groupby("true")[["value", "mirrored", "exchanged"]].mean()
    assert len(some) == 320 and means["value"].idxmax() == "left"
    assert means["mirrored"].idxmax() == means["exchanged"].idxmax() == "right"
    assert set(pd.read_parquet(out / "nulls.parquet")["null"]) == {"permuted", "random"}
    assert (out / "spatial.png").stat().st_size > 10_000


def test_a_model_that_knows_nothing(world, vlm, inputs, tmp_path, monkeypatch):
    """A tiny random model read for real, by random dictionaries: no relation is found."""
    model, processor = vlm
    for name in ("aligned", "instruct"):
        model.save_pretrained(inputs["base"] / name)
        processor.save_pretrained(inputs["base"] / name)
    d = model.config.text_config.hidden_size
    monkeypatch.setattr(passes.saved, "load", lambda path: Plain(d, WIDTH, 0))
    metrics = spatial.run(asked(world, 160), inputs, tmp_path / "out")
    assert metrics[f"spatial/{SITE}/selected"] <= 2
    assert metrics[f"spatial/{SITE}/alive"] >= 5
    assert metrics[f"spatial/{SITE}/selective"] == 0
    assert {"text_before/p", "text_after/p"} <= {n.split(f"{SITE}/")[-1] for n in metrics}


def test_too_few_scenes_are_said_and_give_no_figure(world, inputs, tmp_path, monkeypatch):
    related = relations.draw(world, 1, 32)
    monkeypatch.setattr(passes, "Reader", planted(related, np.random.default_rng(0)))
    monkeypatch.setattr(passes.saved, "load", lambda path: Same(WIDTH, WIDTH, 0))
    metrics = spatial.run(asked(world, 32), inputs, tmp_path / "out")
    missing = json.loads((tmp_path / "out" / "untestable.json").read_text())[SITE]
    assert {"left", "right", "above", "below", "features"} <= set(missing)
    assert set(metrics) == {"spatial/scenes", f"spatial/{SITE}/untestable"}


def test_no_dictionary_is_one_sentence(world, inputs, tmp_path):
    (inputs["dictionary"] / SITE / "MF").rmdir()
    with pytest.raises(StageError, match="holds no <site>/MF"):
        spatial.run(asked(world, 32), inputs, tmp_path / "out")


def test_pooling_is_over_the_tokens_of_its_type_alone(vlm):
    model, processor = vlm
    prompts = ["is it red ?", "where is the ball relative to the small blue square ?"]
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    tokens = model.config.image_seq_length
    some = reading.asked(processor, tokens, prompts, ["left .", "above ."], images=images)
    writer = Writer("residual.1", lambda x: x.relu(), ("question", "last", "mean", "answer"))
    found = pooled(model, processor, some, {"a": writer}, 1)["a"]
    (whole,) = reading.read(model, processor, some, ["residual.1"])
    for i in range(2):
        x, types = whole.seen["residual.1"][i].relu(), some.types[i]
        asks = x[types == reading.QUESTION]
        want = {
            "question": asks.amax(0), "last": asks[-1], "mean": asks.mean(0),
            "answer": x[types == reading.ANSWER].amax(0),
        }  # fmt: skip
        for way, value in want.items():
            assert np.allclose(found[way][i], value, atol=1e-5), way
