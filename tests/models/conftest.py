"""A tiny model with random weights, which looks at images of 16 x 16 pixels."""

from types import SimpleNamespace

import pytest

from steps.models import build

WORDS = "what color is it ? in a word . red green blue user assistant :".split()


@pytest.fixture(scope="module")
def model():
    sizes = SimpleNamespace(
        tower_width=32, tower_layers=2, tower_heads=2, width=32, layers=2, heads=2, feed_forward=48
    )
    return build.vlm(build.config(sizes, 16, 8, WORDS), 1).eval()


@pytest.fixture(scope="module")
def processor():
    return build.processor(16, 8, WORDS)
