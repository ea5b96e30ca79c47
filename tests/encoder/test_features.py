"""The cache holds what the model gives, rounded once."""

import json

import numpy as np
import pytest
import torch

from steps.encoder import extract, features, tower


@pytest.fixture
def folder(model, section, tmp_path):
    path = tmp_path / "extract"
    path.mkdir()
    extract.run(section, {"model": model}, path)
    return path


def test_cache_equals_the_model(folder, section, probes, tmp_path):
    metrics = features.run(section, {"extract": folder, "probes": probes}, tmp_path)
    assert metrics == {"features/images": 360.0}
    eye, head, images = tower.load(folder)
    picture = np.load(probes / "segment_images.npy")[20:23]
    with torch.no_grad():
        pixels = images(list(picture), return_tensors="pt")["pixel_values"]
        tokens = tower.read(eye, pixels)
        behind = head(tokens)
    kept = features.load(tmp_path, "segment", "vit")
    assert kept.dtype == np.float16 and kept.shape == (60, 64, 48)
    assert isinstance(kept, np.memmap) and not kept.flags.writeable
    np.testing.assert_allclose(kept[20:23], tokens, rtol=2e-3, atol=1e-3)
    kept = features.load(tmp_path, "segment", "proj")
    np.testing.assert_allclose(kept[20:23], behind, rtol=2e-3, atol=1e-3)

    picture = np.load(probes / "classify_images.npy")[-2:]  # the last, incomplete batch
    with torch.no_grad():
        pixels = images(list(picture), return_tensors="pt")["pixel_values"]
        mean = tower.read(eye, pixels).mean(1)
    pooled = features.load(tmp_path, "classify", "vit")
    assert pooled.shape == (200, 48)
    np.testing.assert_allclose(pooled[-2:], mean, rtol=2e-3, atol=1e-3)
    facts = json.loads((tmp_path / "features.json").read_text())
    assert facts["sets"]["segment"]["files"]["segment_vit.npy"] == [60, 64, 48]
    assert features.places(tmp_path) == ["vit", "proj"]


def test_layers_further_down(folder, section, probes, tmp_path):
    section.features.layers = [0, 2]
    features.run(section, {"extract": folder, "probes": probes}, tmp_path)
    assert features.places(tmp_path) == ["vit", "proj", "layer0", "layer2"]
    assert features.prefix("layer0") == "layer0/" and features.prefix("vit") == ""
    last, same, first = (
        features.load(tmp_path, "segment", place) for place in ("vit", "layer2", "layer0")
    )
    deepest = tower.load(folder)[0].config.num_hidden_layers
    assert np.array_equal(last, same) == (deepest == 2) and not np.allclose(last, first)
    section.features.layers = [9]
    with pytest.raises(ValueError, match=r"features.layers is \[9\]: .* layers 0 to"):
        features.run(section, {"extract": folder, "probes": probes}, tmp_path)


def test_images_of_another_size_go_through_the_processor(folder, section, tmp_path):
    probes = tmp_path / "probes"
    probes.mkdir()
    large = np.random.default_rng(0).integers(0, 256, (3, 96, 80, 3)).astype(np.uint8)
    np.save(probes / "segment_images.npy", large)
    features.run(section, {"extract": folder, "probes": probes}, tmp_path)
    assert features.load(tmp_path, "segment", "vit").shape == (3, 64, 48)


def test_no_images_and_no_features(section, tmp_path):
    with pytest.raises(ValueError, match=r"no \*_images.npy"):
        features.cache(tmp_path, dict, 4, tmp_path)
    np.save(tmp_path / "classify_images.npy", np.zeros((0, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="holds no images"):
        features.cache(tmp_path, dict, 4, tmp_path)
    with pytest.raises(FileNotFoundError, match="run the stage `features` again"):
        features.load(tmp_path, "classify", "vit")


def test_overflow_is_told(tmp_path):
    np.save(tmp_path / "classify_images.npy", np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="do not fit float16"):
        features.cache(tmp_path, lambda b: {"vit": torch.full((2, 4, 3), 1e6)}, 4, tmp_path)


def test_photographs_are_encoded_once_for_both_their_sets(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    np.save(tmp_path / "photos_images.npy", images)
    encoded = []

    def encode(batch):
        encoded.extend(batch)
        return {"vit": torch.from_numpy(batch.reshape(len(batch), 64, 3)).float()}

    sets = features.cache(tmp_path, encode, 2, tmp_path)
    assert np.array_equal(encoded, images)
    files = {"photos_classify_vit.npy": [5, 3], "photos_segment_vit.npy": [5, 64, 3]}
    assert sets == {"photos": {"images": 5, "files": files}}
    tokens = images.reshape(5, 64, 3)
    assert np.array_equal(features.load(tmp_path, "photos_segment", "vit"), tokens)
    pooled = features.load(tmp_path, "photos_classify", "vit")
    np.testing.assert_allclose(pooled, tokens.mean(1), rtol=1e-3)
