"""A training's curves: the ends as metrics, the whole as a file."""

import json

from steps.posttrain import history

POINTS = [
    {"loss": 2.0, "reward": 0.1, "step_time": 3.0, "epoch": 0.1, "step": 1},
    {"loss": 1.5, "reward": 0.2, "grad_norm": float("nan"), "step": 2},
    {"loss": 1.0, "reward": None, "step_time": 4.0, "step": 3},
]


def test_first_and_last_points_without_times():
    assert history.ends(POINTS) == {
        "train/first/loss": 2.0,
        "train/first/reward": 0.1,
        "train/last/loss": 1.0,
    }


def test_the_file_has_every_point_of_the_kept_curves_and_no_times(tmp_path):
    history.write(POINTS, tmp_path)
    text = (tmp_path / "curves.json").read_text()
    assert json.loads(text) == {
        "loss": [[1, 2.0], [2, 1.5], [3, 1.0]],
        "reward": [[1, 0.1], [2, 0.2]],
    }
    assert "NaN" not in text
