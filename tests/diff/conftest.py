"""A tiny random base in two stages with its items, and activations whose atoms are known."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

WORDS = "what color is it the ball ? answer : red green blue user assistant .".split()
SIZES = SimpleNamespace(
    tower_width=16, tower_layers=1, tower_heads=2, width=24, layers=3, heads=2, feed_forward=48
)
ITEMS = 30


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """`aligned/` and `instruct/`: two models of one architecture, 32 pixels, 16 image tokens."""
    from steps.models import build

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


@pytest.fixture(scope="session")
def items(tmp_path_factory):
    """30 items on 15 scenes in each of the two training files, answers of different lengths."""
    folder = tmp_path_factory.mktemp("items")
    rng = np.random.default_rng(0)
    for name in ("train", "stage1"):
        answers = rng.choice(["red", "green", "blue"], ITEMS)
        table = pd.DataFrame({"item": [f"{name}-{i}" for i in range(ITEMS)]})
        table["image"] = table["scene"] = np.arange(ITEMS) // 2
        table["prompt"] = ["what color is it ?", "the ball is what color ?"] * (ITEMS // 2)
        table["response"] = [f"answer : {a} ." if len(a) > 3 else a for a in answers]
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
            layer=1, tokens=1200, width=48, k=4, steps=60, batch=128, learning_rate=3e-3, seeds=[0]
        ),
    )


@pytest.fixture(scope="session")
def harvested(base, items, tmp_path_factory):
    """What the harvest stage makes of them, and its metrics."""
    from steps.diff import harvest

    out = tmp_path_factory.mktemp("harvest")
    want = SimpleNamespace(run=SimpleNamespace(seed=0), diff=SimpleNamespace(layer=1, tokens=1200))
    return out, harvest.run(want, {"base": base, "items": items}, out)


def plant(seed, atoms, width, tokens, active, share, degrees, noise=0.02):
    """Activations before and after `share` of their atoms turned by `degrees`.

    Each token is a sum of about `active` of the unit atoms [atoms, width] (weights .5 to 1.5) and
    a little noise; the same codes before and after. Returns atoms, turned [bool], before, after,
    the last two scaled by one number so that `before` has unit root mean square.
    """
    g = torch.Generator().manual_seed(seed)
    before = torch.nn.functional.normalize(torch.randn(atoms, width, generator=g))
    turned = torch.zeros(atoms, dtype=torch.bool)
    turned[torch.randperm(atoms, generator=g)[: round(share * atoms)]] = True
    away = torch.randn(atoms, width, generator=g)
    away -= (away * before).sum(1, keepdim=True) * before
    away = torch.nn.functional.normalize(away)
    angle = math.radians(degrees)
    after = math.cos(angle) * before + math.sin(angle) * away
    after = torch.where(turned[:, None], after, before)
    codes = 0.5 + torch.rand(tokens, atoms, generator=g)
    codes *= torch.rand(tokens, atoms, generator=g) < active / atoms
    x = codes @ before + noise * torch.randn(tokens, width, generator=g)
    y = codes @ after + noise * torch.randn(tokens, width, generator=g)
    scale = 1 / x.square().mean().sqrt()
    return before, turned, x * scale, y * scale


@pytest.fixture(scope="session")
def planted():
    """The function above: pytest's import mode lets no test import a conftest."""
    return plant
