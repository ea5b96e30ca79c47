"""A tiny random base in two stages with its items, and activations whose atoms are known."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps import params as study
from steps.data.language import vocabulary
from steps.models import build, load

WORDS = "what color is it the ball ? answer : red green blue user assistant .".split()
WORDS += "scene ; a at top bottom left right letter k".split()
SIZES = SimpleNamespace(
    tower_width=16, tower_layers=1, tower_heads=2, width=24, layers=3, heads=2, feed_forward=48
)
ITEMS = 60


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """`aligned/` and `instruct/`: two models of one architecture, 32 pixels, 16 image tokens."""

    folder = tmp_path_factory.mktemp("base")
    config = build.config(SIZES, 32, 8, WORDS)
    for seed, name in enumerate(("aligned", "instruct")):
        model = build.vlm(config, seed)
        with torch.no_grad():  # untrained layers hardly add to the residual stream: make them
            for weight in model.parameters():
                weight.mul_(3 if weight.ndim > 1 else 1)
        model.save_pretrained(folder / name)
        build.processor(32, 8, WORDS).save_pretrained(folder / name)
    return folder


def scene(rng):
    """What a scene holds, and where."""
    things = [[f"{color} ball", "top left"] for color in rng.permutation(["red", "green", "blue"])]
    return [*things[: rng.integers(1, 4)], *[["letter k", "bottom right"]] * rng.integers(2)]


@pytest.fixture(scope="session")
def items(tmp_path_factory):
    """60 items on 30 scenes in each of the two training files, answers of different lengths.

    Those of train.parquet carry their scene, one to three things, as `truth`.
    """
    folder = tmp_path_factory.mktemp("items")
    rng = np.random.default_rng(0)
    for name in ("train", "stage1"):
        answers = rng.choice(["red", "green", "blue"], ITEMS)
        table = pd.DataFrame({"item": [f"{name}-{i}" for i in range(ITEMS)]})
        table["image"] = table["scene"] = np.arange(ITEMS) // 2
        table["prompt"] = ["what color is it ?", "the ball is what color ?"] * (ITEMS // 2)
        table["response"] = [f"answer : {a} ." if len(a) > 3 else a for a in answers]
        if name == "train":
            scenes = [scene(rng) for _ in range(ITEMS // 2)]
            table["truth"] = [json.dumps({"things": scenes[i]}) for i in table["scene"]]
        table.to_parquet(folder / f"{name}.parquet")
        images = rng.integers(0, 256, (ITEMS // 2, 32, 32, 3), dtype=np.uint8)
        np.save(folder / f"{name}_images.npy", images)
    return folder


@pytest.fixture
def params(tmp_path):
    """Parameters of the wing's stages at test size."""
    return SimpleNamespace(
        run=SimpleNamespace(
            study="t", stage="s", base="b", arm=None, seed=0, threads=1, checkpoints=None
        ),
        diff=SimpleNamespace(
            layers=[1],
            sites=["residual"],
            tokens=1200,
            store=True,
            width=48,
            k=4,
            steps=60,
            batch=128,
            learning_rate=3e-3,
            seeds=[0],
        ),
    )


@pytest.fixture(scope="session")
def harvested(base, items, tmp_path_factory):
    """What the harvest stage makes of them at one site, and its metrics."""
    from steps.diff import harvest

    out = tmp_path_factory.mktemp("harvest")
    want = SimpleNamespace(
        run=SimpleNamespace(seed=0, checkpoints=None),
        diff=SimpleNamespace(layers=[1], sites=["residual"], tokens=1200, store=True),
    )
    return out, harvest.run(want, {"base": base, "items": items}, out)


@pytest.fixture(scope="session")
def world():
    """The default study's world."""
    return study.load(Path(__file__).parents[2] / "params.yaml").world


@pytest.fixture(scope="session")
def vlm(tmp_path_factory):
    """A tiny random model that knows the world's words, with its processor: two layers, 64 px."""
    folder = tmp_path_factory.mktemp("vlm")
    sizes = SimpleNamespace(**(vars(SIZES) | {"layers": 2}))
    model = build.vlm(build.config(sizes, 64, 8, vocabulary()), 0)
    with torch.no_grad():
        for weight in model.model.language_model.layers.parameters():
            weight.mul_(3 if weight.ndim > 1 else 1)
    model.save_pretrained(folder)
    build.processor(64, 8, vocabulary()).save_pretrained(folder)
    return load.vlm(folder), load.processor(folder)


@pytest.fixture(scope="session")
def carried(base, items, harvested, tmp_path_factory):
    """Inputs of the stages that carry dictionaries on to other models, and their parameters."""
    from steps.diff import dictionary

    out = tmp_path_factory.mktemp("dictionary")
    sizes = {"width": 48, "k": 4, "steps": 160, "batch": 128, "learning_rate": 1e-2}
    want = SimpleNamespace(
        run=SimpleNamespace(seed=0, threads=1, checkpoints=None),
        diff=SimpleNamespace(kind="topk", on="all", start={}, **sizes),
    )
    inputs = {"base": base, "items": items, "harvest": harvested[0]}
    dictionary.run(want, inputs, out)
    gate = json.loads((out / "gate.json").read_text())
    for dictionaries in gate.values():  # at this size none has converged
        for verdict in dictionaries.values():
            verdict |= {"converged": True, "followed": True}
    (out / "gate.json").write_text(json.dumps(gate))
    return inputs | {"dictionary": out}, want
