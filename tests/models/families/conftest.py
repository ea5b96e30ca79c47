"""A model of each kind taken over from a folder in the hub's layout, and questions for it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steps.models import hub, load
from tests.models.families import tiny
from tests.posttrain.conftest import asked

MADE: dict[str, Path] = {}


@pytest.fixture(scope="session")
def there(tmp_path_factory):
    """A function: the folder of a kind, as on the hub."""

    def make(kind):
        if kind not in MADE:
            MADE[kind] = tiny.save(kind, tmp_path_factory.mktemp(kind) / "hub")
        return MADE[kind]

    return make


@pytest.fixture(scope="session", params=tiny.KINDS)
def base(request, there, tmp_path_factory):
    """A base's folder of each kind, as the stage `hub` leaves it."""
    folder = tmp_path_factory.mktemp("base")
    hub.take(str(there(request.param)), None, folder / "instruct")
    return folder


@pytest.fixture
def model(base):
    return load.vlm(base / "instruct")


@pytest.fixture
def processor(base):
    return load.processor(base / "instruct")


@pytest.fixture(scope="session")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), np.uint8)


@pytest.fixture(scope="session")
def questions(tmp_path_factory):
    """Folders of a few questions and of pairs, as the stages of post-training read them."""
    items, pairs = (tmp_path_factory.mktemp(name) for name in ("items", "pairs"))
    for seed, (name, count) in enumerate({"train": 8, "tune": 4}.items()):
        table, images = asked(np.random.default_rng(seed), count)
        table.to_parquet(items / f"{name}.parquet")
        np.save(items / f"{name}_images.npy", images)
    table = pd.read_parquet(items / "train.parquet")
    table["chosen"], table["sampled"] = table["response"], table["response"]
    table["rejected"] = [text.rpartition(" ")[0] + " purple" for text in table["response"]]
    table["reason"] = "wrong"
    table.to_parquet(pairs / "pairs.parquet")
    return {"items": items, "pairs": pairs}
