"""The positive control: a tower that is told what there is to see gets to tell it."""

import numpy as np
import pytest
import torch

from steps.models import load
from steps.posttrain import sft
from steps.posttrain.sighted import fitted, patches, read, turned


def test_a_patch_is_what_fills_most_of_it():
    maps = np.zeros((1, 4, 8), np.uint8)
    maps[0, :, :3] = 2  # 3 of 4 columns of the first patch
    maps[0, :2, 4:] = 1  # half of the second: the lower class counts
    assert patches(maps, 4).tolist() == [[2, 0]]
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 5, (3, 16, 24)).astype(np.uint8)
    found = patches(maps, 8)
    assert found.shape == (3, 6)
    cut = maps[1, 8:16, 16:24].ravel()
    assert found[1, 5] == np.bincount(cut).argmax()


def test_turned_goes_through_all_eight_ways_once_and_keeps_neighbours():
    grid = torch.arange(9).view(1, 3, 3)
    ways = [turned(grid, turn) for turn in range(8)]
    assert len({tuple(way.flatten().tolist()) for way in ways}) == 8
    assert torch.equal(ways[0], grid) and all(way[0, 1, 1] == 4 for way in ways)
    assert all({*way[0, 0].tolist(), *way[0, 2].tolist()} & {0, 2, 6, 8} for way in ways)


def test_an_image_and_its_classes_are_turned_alike():
    """The classes of patches of a turned image are those of its turned map."""
    maps = np.random.default_rng(1).integers(0, 3, (2, 16, 16)).astype(np.uint8)
    true = torch.from_numpy(patches(maps, 4)).unflatten(1, (4, 4))
    for turn in range(8):
        whole = turned(torch.from_numpy(maps), turn).contiguous().numpy()
        assert patches(whole, 4).tolist() == turned(true, turn).flatten(1).tolist()


def test_the_readout_is_scikit_learns_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    dice = torch.Generator().manual_seed(0)
    tokens = torch.randn(30, 16, 12, generator=dice)
    level = torch.nn.functional.layer_norm(tokens, (12,)).flatten(0, 1)
    true = level @ torch.randn(12, 3, generator=dice) + torch.randn(480, 3, generator=dice)
    true = true.argmax(1)
    w = fitted(tokens, true.view(30, 16), 3)
    theirs = LogisticRegression(C=1 / (2 * 1e-5 * 480), max_iter=2000, tol=1e-8)
    theirs.fit(level.numpy(), true.numpy())
    told = (level @ w[:-1] + w[-1]).softmax(1).numpy()
    np.testing.assert_allclose(told, theirs.predict_proba(level.numpy()), atol=0.01)


def test_the_eye_gets_better_and_the_answers_are_still_learnt(params, inputs, trained, tmp_path):
    """Told by a new readout, on turnings of its images that this was not fitted to."""
    told = params(sft={"patch_loss": 3.0, "epochs": 30.0, "learning_rate": 1e-2})
    metrics = sft.run(told, inputs, tmp_path)
    assert metrics["train/last/patch_loss"] < 0.6 * metrics["train/first/patch_loss"]
    assert metrics["train/last/loss"] < metrics["train/first/loss"]
    maps = np.load(inputs["items"] / "train_maps.npy")
    images = np.load(inputs["items"] / "train_images.npy")
    true = torch.from_numpy(patches(maps, 8))
    side, right = maps.shape[1] // 8, []
    for folder in (tmp_path, trained["sft"][0]):
        model = load.vlm(folder)
        see = load.reader(load.processor(folder).image_processor)
        halves = []
        for turns in (range(0, 8, 2), range(1, 8, 2)):
            with torch.no_grad():
                tokens = torch.cat([read(model, turned(see(images), turn)) for turn in turns])
            grid = true.unflatten(1, (side, side))
            halves.append((tokens, torch.cat([turned(grid, t).flatten(1) for t in turns])))
        w = fitted(*halves[0], 4)
        level = torch.nn.functional.layer_norm(halves[1][0], w[:-1].shape[:1])
        told = (level @ w[:-1] + w[-1]).argmax(-1)
        seen = halves[1][1] > 0
        right.append((told == halves[1][1])[seen].float().mean().item())
    assert right[0] > right[1] + 0.1, right


def test_without_its_weight_nothing_changes(params, inputs, trained, weights, tmp_path):
    """A weight too small to matter moves parameters hardly at all from plain SFT's."""
    sft.run(params(sft={"patch_loss": 1e-12}), inputs, tmp_path)
    new, old = weights(tmp_path), weights(trained["sft"][0])
    for name in old:
        np.testing.assert_allclose(new[name], old[name], atol=2e-3)


def test_it_is_for_the_drawn_worlds_training_items(params):
    with pytest.raises(ValueError, match="must be train"):
        params(sft={"patch_loss": 1.0, "items": "stage1"})
