"""The positive control: a tower that is told what there is to see gets to tell it."""

import numpy as np
import pytest
import torch

from steps.models import load
from steps.posttrain import sft
from steps.posttrain.sighted import patches


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


def test_the_eye_gets_better_and_the_answers_are_still_learnt(params, inputs, trained, tmp_path):
    """On the patches of its own images, by a linear probe; plain SFT's tower stays behind."""
    told = params(sft={"patch_loss": 3.0, "epochs": 30.0, "learning_rate": 1e-2})
    metrics = sft.run(told, inputs, tmp_path)
    assert metrics["train/last/patch_loss"] < 0.6 * metrics["train/first/patch_loss"]
    assert metrics["train/last/loss"] < metrics["train/first/loss"]
    maps = np.load(inputs["items"] / "train_shape.npy")
    images = np.load(inputs["items"] / "train_images.npy")
    true = torch.tensor(patches(maps, 8)).flatten()
    shares = []
    for folder in (tmp_path, trained["sft"][0]):
        model = load.vlm(folder)
        see = load.reader(load.processor(folder).image_processor)
        with torch.no_grad():
            tokens = torch.nn.functional.layer_norm(
                read_layer(model, see(images)), (model.config.vision_config.hidden_size,)
            ).flatten(0, 1)
        means = torch.stack([tokens[true == c].mean(0) for c in range(4)])
        shares.append((torch.cdist(tokens, means).argmin(1) == true).float().mean().item())
    assert shares[0] > 0.95 and shares[0] >= shares[1]


def read_layer(model, pixels):
    states = model.model.vision_tower(pixel_values=pixels, output_hidden_states=True).hidden_states
    return states[model.config.vision_feature_layer]


def test_without_its_weight_nothing_changes(params, inputs, trained, weights, tmp_path):
    """A weight too small to matter moves parameters hardly at all from plain SFT's."""
    sft.run(params(sft={"patch_loss": 1e-12}), inputs, tmp_path)
    new, old = weights(tmp_path), weights(trained["sft"][0])
    for name in old:
        np.testing.assert_allclose(new[name], old[name], atol=2e-3)


def test_it_is_for_the_drawn_worlds_training_items(params):
    with pytest.raises(ValueError, match="must be train"):
        params(sft={"patch_loss": 1.0, "items": "stage1"})
