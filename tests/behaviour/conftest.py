"""A tiny random model and questions, as the stages before leave them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from steps import params
from steps.data.items import draw
from steps.data.language import vocabulary
from steps.data.paint import render
from steps.models import build


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
