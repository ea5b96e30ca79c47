"""An arm's eye against the base's: no change is none, and a planted change is found where it is."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps import params
from steps.data import probes as stage
from steps.data.language import vocabulary
from steps.encoder import drift
from steps.encoder import tower as towers
from steps.models import build, hub, load
from tests.models.foreign import llava

LAYERS = ["layer0", "layer1", "layer2", "layer3", "proj"]


def told(arm="sft", images=40):
    who = SimpleNamespace(study="t", base="b", arm=arm, seed=3)
    return SimpleNamespace(
        drift=SimpleNamespace(images=images, batch=16, k=[9, 2, 5], bootstrap=40, reference="none"),
        run=who,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Folders: `base/instruct`, a small random model of the world's words, and `probes`."""
    folder = tmp_path_factory.mktemp("drift")
    sizes = SimpleNamespace(
        tower_width=32, tower_layers=3, tower_heads=4, width=24, layers=2, heads=3, feed_forward=32
    )
    model = build.vlm(build.config(sizes, 64, 8, vocabulary()), 0)
    model.save_pretrained(folder / "base/instruct")
    build.processor(64, 8, vocabulary()).save_pretrained(folder / "base/instruct")
    whole = params.load(Path(__file__).parents[2] / "params.yaml")
    few = {"classify_train": 44, "classify_test": 4, "segment_train": 2, "segment_test": 2}
    section = whole.probes.model_copy(update=few | {"photos": "off"})
    (folder / "probes").mkdir()
    run = SimpleNamespace(
        probes=section, world=whole.world, data=whole.data, run=SimpleNamespace(seed=0)
    )
    stage.run(run, {}, folder / "probes")
    return folder


@pytest.fixture
def measure(world, tmp_path):
    """A function: metrics and both tables of an arm that `change` makes of the base."""

    def run(change=None, arm="sft"):
        own = world / "base/instruct"
        inputs = {"model": own, "reference": own, "base": world / "base"}
        if change is not None:
            model = load.vlm(inputs["model"])
            with torch.no_grad():
                change(model)
            model.save_pretrained(tmp_path / "model")
            inputs["model"] = tmp_path / "model"
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        metrics = drift.run(told(arm), inputs | {"probes": world / "probes"}, out)
        tables = [pd.read_parquet(out / f"{name}.parquet") for name in ("layers", "alignment")]
        assert (out / "drift.png").stat().st_size > 1000
        return metrics, *tables

    return run


def test_calibration_the_base_against_itself(measure):
    metrics, layers, aligned = measure(arm="none")
    assert layers["layer"].tolist() == [name for name in LAYERS for _ in range(2)]
    assert layers["view"].tolist() == ["pooled", "patch"] * 5
    np.testing.assert_allclose(layers["cka"], 1, rtol=0, atol=1e-9)
    np.testing.assert_allclose(layers["procrustes"], 0, rtol=0, atol=1e-9)
    pooled = layers[layers["view"] == "pooled"]
    assert (pooled["knn"] == 1).all() and (pooled["weights"] == 0).all()
    assert (layers["rank"] == layers["rank_base"]).all() and (layers["rank"] > 1).all()
    gains = aligned.filter(like="gain")
    assert gains.shape == (6, 3) and (gains == 0).all(None)
    assert (aligned["align"] == aligned["align_base"]).all()
    assert aligned["k"].tolist() == [2, 5, 9] * 2
    np.testing.assert_allclose(aligned["align_chance"], aligned["k"] / 39)
    # No eye is nearer to the texts than chance allows where images and texts are shuffled.
    np.testing.assert_allclose(aligned["align_null"], aligned["align_chance"], atol=0.02)
    assert (layers["arm"] == "none").all() and (aligned["seed"] == 3).all()

    assert metrics["drift/images"] == 40
    for name in LAYERS:
        assert metrics[f"drift/cka/{name}"] == pytest.approx(1, abs=1e-9)
        assert metrics[f"drift/patch/procrustes/{name}"] == pytest.approx(0, abs=1e-9)
        assert metrics[f"drift/weights/{name}"] == 0 and metrics[f"drift/knn/{name}"] == 1
    assert f"drift/patch/knn/{LAYERS[0]}" not in metrics
    assert metrics["drift/align_gain/last/k5"] == 0 < metrics["drift/align/middle/k9"]
    assert all(np.isfinite(value) for value in metrics.values())
    assert measure(arm="none")[0] == metrics


def test_a_changed_block_is_seen_from_its_output_on(measure):
    def change(model):
        for weight in model.model.vision_tower.encoder.layers[1].mlp.parameters():
            weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) / 2

    metrics, layers, aligned = measure(change)
    at = layers.set_index(["view", "layer"])
    for view in ("pooled", "patch"):
        for name in ("layer0", "layer1"):
            assert at.loc[(view, name), "cka"] == pytest.approx(1, abs=1e-9)
            assert at.loc[(view, name), "procrustes"] == pytest.approx(0, abs=1e-9)
        for name in ("layer2", "layer3", "proj"):
            assert at.loc[(view, name), "cka"] < 0.98
            assert at.loc[(view, name), "procrustes"] > 0.01
            assert at.loc[(view, name), "rank"] != at.loc[(view, name), "rank_base"]
    assert at.loc[("pooled", "layer1"), "knn"] == 1 > at.loc[("pooled", "layer2"), "knn"]
    moved = {name: metrics[f"drift/weights/{name}"] for name in LAYERS}
    assert [name for name, change in moved.items() if change] == ["layer2"]
    assert not (aligned["align_gain"] == 0).all()


def test_a_changed_projector_is_not_the_eye(measure):
    def change(model):
        weight = model.model.multi_modal_projector.linear_1.weight
        weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) / 2

    metrics, layers, aligned = measure(change)
    head = layers[layers["layer"] == "proj"]
    assert (head["cka"] < 0.99).all() and metrics["drift/weights/proj"] > 0
    assert metrics["drift/knn/layer3"] == 1 > metrics["drift/knn/proj"]
    assert {metrics[f"drift/weights/{name}"] for name in LAYERS[:-1]} == {0}
    assert (aligned["align_gain"] == 0).all()  # what is compared with language is the eye alone


def test_a_changed_language_model_changes_nothing(measure):
    """The reference is the base's: an arm that only learnt to speak has not moved its eye."""
    before = measure(arm="none")[0]

    def change(model):
        for weight in model.model.language_model.parameters():
            weight *= -2

    assert measure(change)[0] == before


def test_layers_are_what_the_projector_is_given(world):
    vlm = load.vlm(world / "base/instruct")
    see = load.reader(load.processor(world / "base/instruct").image_processor)
    pictures = np.load(world / "probes/classify_images.npy")[:20]
    found = drift.look(vlm, see, pictures, 16, 3)
    with torch.no_grad():
        states = vlm.model.vision_tower(see(pictures), output_hidden_states=True).hidden_states
        given = torch.stack(list(vlm.model.get_image_features(see(pictures)).pooler_output))
    for k, state in enumerate(states):
        np.testing.assert_allclose(found[f"layer{k}", "pooled"], state.mean(1), atol=1e-5)
    np.testing.assert_allclose(found["proj", "pooled"], given.mean(1), atol=1e-5)
    assert found["proj", "patch"].shape == (20 * 64, 24)  # all of them: fewer than are kept


def test_kept_tokens_are_the_same_everywhere(world, monkeypatch):
    vlm = load.vlm(world / "base/instruct")
    see = load.reader(load.processor(world / "base/instruct").image_processor)
    pictures = np.load(world / "probes/classify_images.npy")[:20]
    whole = drift.look(vlm, see, pictures, 16, 3)
    monkeypatch.setattr(drift, "TOKENS", 100)
    few, again = drift.look(vlm, see, pictures, 16, 3), drift.look(vlm, see, pictures, 7, 3)
    for name in LAYERS:
        assert len(few[name, "patch"]) == 100
        np.testing.assert_allclose(few[name, "patch"], again[name, "patch"], atol=1e-5)
    places = [
        np.abs(whole[name, "patch"][None] - few[name, "patch"][:, None]).sum(2).argmin(1)
        for name in ("layer2", "layer3")
    ]
    assert (places[0] == places[1]).all() and (np.diff(places[0]) > 0).all()


def test_texts_are_of_the_world_and_read_without_their_padding(world):
    table = pd.read_parquet(world / "probes/classify.parquet")
    texts = drift.described(table)
    assert set(" ".join(texts).split()) <= set(vocabulary())
    row = table.iloc[7]
    assert all(word in texts[7].split() for word in row[["shape", "color", "count", "ground"]])
    vlm, processor = (f(world / "base/instruct") for f in (load.vlm, load.processor))
    some = [*texts[:6], "scene :", texts[0]]
    found = drift.heard(vlm, processor.tokenizer, some, 4)
    for text, middle, last in zip(some, found["middle"], found["last"], strict=True):
        ids = processor.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = vlm.model.language_model(ids, output_hidden_states=True).hidden_states
        np.testing.assert_allclose(middle, states[1][0].mean(0), atol=1e-5)
        np.testing.assert_allclose(last, states[2][0].mean(0), atol=1e-5)
    assert (found["last"][0] == found["last"][-1]).all()


def test_too_few_images(world, tmp_path):
    own = world / "base/instruct"
    inputs = {"model": own, "reference": own, "base": world / "base", "probes": world / "probes"}
    with pytest.raises(ValueError, match=r"drift.k is \[2, 5, 9\], but there are 9 images"):
        drift.run(told(images=9), inputs, tmp_path)


def test_a_foreign_model_read_below_its_last_block(world, tmp_path):
    """CLIP with a class token, read at layer -2; a Llama, and a tokenizer of several tokens a word.

    Only what the projector reads is there: patches, and no block above the second of three.
    """
    hub.take(str(llava(tmp_path / "llava")), None, tmp_path / "base/instruct")
    model = load.vlm(tmp_path / "base/instruct")
    with torch.no_grad():
        model.model.vision_tower.encoder.layers[2].mlp.fc1.weight += 1
    model.save_pretrained(tmp_path / "model")
    inputs = {"model": tmp_path / "model", "base": tmp_path / "base", "probes": world / "probes"}
    inputs["reference"] = inputs["base"] / "instruct"
    metrics = drift.run(told(), inputs, tmp_path)
    names = {name.split("/")[-1] for name in metrics if name.startswith("drift/cka")}
    assert names == {"layer0", "layer1", "layer2", "proj"}
    assert {metrics[f"drift/weights/{name}"] for name in names} == {0}  # the third is not read
    cut = towers.cut(model, -2)
    assert cut.config.skip_tokens == 1 and metrics["drift/cka/proj"] == pytest.approx(1, abs=1e-9)


def test_another_arm_may_be_the_reference(world, measure, tmp_path):
    def louder(model):
        model.model.vision_tower.get_input_embeddings().weight.mul_(1.5)

    moved = measure(louder)[1]
    assert moved["procrustes"].max() > 0.001
    inputs = {"model": tmp_path / "model", "reference": tmp_path / "model", "base": world / "base"}
    (tmp_path / "again").mkdir()
    drift.run(told(), inputs | {"probes": world / "probes"}, tmp_path / "again")
    still = pd.read_parquet(tmp_path / "again/layers.parquet")
    assert (still["procrustes"].abs() < 1e-9).all() and not still["weights"].dropna().any()


def test_texts_of_photographs_name_their_category():
    table = pd.DataFrame({"category": ["food"], "count": ["two"], "ground": ["warm"]})
    wanted = "scene : a large food object ; objects : two ; the ground is warm ."
    assert drift.described(table) == [wanted]
