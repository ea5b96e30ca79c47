"""A tiny random LLaVA in a folder, and a planted probe set: what the encoder's stages read."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

SHAPES, TEXTURES = ["square", "disc"], ["plain", "stripes"]
COLOURS = {"red": (220, 40, 40), "blue": (40, 60, 220), "green": (40, 200, 60)}
WORDS = "what color is it ? red green blue user assistant :".split()


def scenes(rng, n):
    """Images uint8 [n, 64, 64, 3] of one object each, its colour, and its two maps."""
    images = rng.integers(90, 130, (n, 64, 64, 3)).astype(np.uint8)
    maps = {kind: np.zeros((n, 64, 64), np.uint8) for kind in ("shape", "texture")}
    colour = rng.choice(sorted(COLOURS), n)
    rows, columns = np.mgrid[:64, :64]
    for i in range(n):
        y, x, shape, texture = *rng.integers(14, 50, 2), *rng.integers(0, 2, 2)
        box = np.maximum(abs(rows - y), abs(columns - x)) < 12
        mask = box if shape == 0 else (rows - y) ** 2 + (columns - x) ** 2 < 144
        images[i][mask] = COLOURS[colour[i]]
        if texture:
            images[i][mask & (rows % 4 < 2)] //= 3
        maps["shape"][i][mask], maps["texture"][i][mask] = 1 + shape, 1 + texture
    return images, colour, maps


@pytest.fixture
def section():
    """Parameters of all stages of the wing, and the run."""
    return SimpleNamespace(
        run=SimpleNamespace(
            study="t", stage="s", base="b", arm="sft", seed=0, threads=1, checkpoints=None
        ),
        extract=SimpleNamespace(layer=-1, projector=True),
        features=SimpleNamespace(batch=16, layers=[]),
        classify=SimpleNamespace(
            kinds=["ridge"],
            pca=0,
            penalties=[0.01, 1.0, 100.0],
            select_share=0.25,
            digits_per_class=5,
            digits_draws=4,
        ),
        segment=SimpleNamespace(
            epochs=12,
            batch=16,
            rates=[0.01, 0.1],
            select_share=0.25,
            patch_epochs=0,
            patch_rate=1e-2,
            patch_hidden=0,
        ),
    )


@pytest.fixture(scope="session")
def probes(tmp_path_factory):
    """A probes folder: 120 + 80 labelled scenes, 40 + 20 with maps, 100 'digits'."""
    folder = tmp_path_factory.mktemp("probes")
    rng = np.random.default_rng(0)
    images, colour, _ = scenes(rng, 200)
    np.save(folder / "classify_images.npy", images)
    table = pd.DataFrame({"split": ["train"] * 120 + ["test"] * 80, "color": colour})
    table["coin"] = rng.choice(["heads", "tails"], 200)  # what no image tells
    table["novel"] = rng.random(200) < 0.3
    table.to_parquet(folder / "classify.parquet")
    images, _, maps = scenes(rng, 60)
    np.save(folder / "segment_images.npy", images)
    for kind, y in maps.items():
        np.save(folder / f"segment_{kind}.npy", y)
    pd.DataFrame({"split": ["train"] * 40 + ["test"] * 20}).to_parquet(folder / "segment.parquet")
    images, colour, _ = scenes(rng, 100)
    np.save(folder / "digits_images.npy", images)
    digits = pd.DataFrame({"label": [sorted(COLOURS).index(c) for c in colour]})
    digits["split"] = ["pool"] * 30 + ["test"] * 20 + ["pool"] * 30 + ["test"] * 20
    digits["noise"] = [False] * 50 + [True] * 50
    digits.to_parquet(folder / "digits.parquet")
    facts = {"classify": {"asked": ["color"], "never": ["coin"]}}
    facts["segment"] = {"shape": SHAPES, "texture": TEXTURES}
    (folder / "probes.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A function: a folder with a random LLaVA whose projector reads a given layer of three."""
    from steps.models import build

    sizes = SimpleNamespace(
        tower_width=48, tower_layers=3, tower_heads=4, width=32, layers=1, heads=2, feed_forward=64
    )

    def make(layer=-1):
        folder = tmp_path_factory.mktemp("model")
        config = build.config(sizes, 64, 8, WORDS)
        config.vision_feature_layer = layer
        build.vlm(config, 5).save_pretrained(folder)
        build.processor(64, 8, WORDS).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def model(tiny):
    """The random LLaVA read at its last block."""
    return tiny()
