"""A tiny random model and questions, as the stages before leave them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps import params
from steps.behaviour import frozen
from steps.data.items import draw
from steps.data.language import vocabulary
from steps.data.paint import render
from steps.models import build, load


@pytest.fixture(scope="session")
def asked(tmp_path_factory):
    """A tiny random model, and 24 questions with their images, in folders as stages leave them."""
    folder = tmp_path_factory.mktemp("vqa")
    study = params.load(Path(__file__).parents[2] / "params.yaml")
    sizes = SimpleNamespace(
        tower_width=16, tower_layers=1, tower_heads=2, width=24, layers=2, heads=3, feed_forward=32
    )
    model = build.vlm(build.config(sizes, 64, 8, vocabulary()), 0)
    model.save_pretrained(folder / "model")
    build.processor(64, 8, vocabulary()).save_pretrained(folder / "model")
    rows, scenes = draw(study.world, np.random.default_rng(0), 24, "test", False, 0.5)
    table = pd.DataFrame(rows)
    table.insert(0, "item", [f"i{i}" for i in range(24)])
    (folder / "items").mkdir()
    table.to_parquet(folder / "items" / "vqa.parquet")
    np.save(folder / "items" / "vqa_images.npy", render(study.world, scenes)[0])
    return folder, table, render(study.world, scenes)[0]


@pytest.fixture(scope="session")
def read(asked, tmp_path_factory):
    """A louder model with four heads on two key heads, and answers with boxes of their own.

    Returns the folders as stages leave them, model, processor, table and images.
    """
    folder = tmp_path_factory.mktemp("gaze")
    sizes = SimpleNamespace(
        tower_width=16, tower_layers=1, tower_heads=2, width=32, layers=2, heads=4, feed_forward=32
    )
    config = build.config(sizes, 64, 8, vocabulary())
    config.text_config.num_key_value_heads = 2
    model = build.vlm(config, 1)
    for weights in model.model.language_model.layers.parameters():
        weights.data.mul_(4.0)  # else heads look everywhere alike
    model.save_pretrained(folder / "model")
    build.processor(64, 8, vocabulary()).save_pretrained(folder / "model")
    _, table, pictures = asked
    rng = np.random.default_rng(5)
    corners = rng.uniform(0, 40, (len(table), 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 24, (len(table), 2))], 1)
    table = table.assign(boxes=[[] if i % 6 == 5 else [b.tolist()] for i, b in enumerate(boxes)])
    (folder / "items").mkdir()
    table.to_parquet(folder / "items" / "vqa.parquet")
    np.save(folder / "items" / "vqa_images.npy", pictures)
    table, pictures = frozen.answers(folder / "items", 8)
    model = load.vlm(folder / "model")
    return SimpleNamespace(
        folder=folder,
        model=model,
        processor=load.processor(folder / "model"),
        table=table,
        pictures=pictures,
    )


@pytest.fixture(scope="module")
def batch(read):
    """All of `read` as one batch."""
    return frozen.Batch(read.model, read.processor, read.table, read.pictures)
