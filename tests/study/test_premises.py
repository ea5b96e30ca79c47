"""Base models that are there and that fit, told before anything runs."""

import json
import re

import pytest

from steps import params as P
from steps.data.language import vocabulary
from steps.data.speech import DRAWN, photographs
from steps.study.plan import plan
from steps.study.premises import WORDS, missing
from tests.test_params import ROOT, changed


def said(place, value):
    return list(missing(P.check(changed(place, value))))


WRONG = [
    ("world.canvas", 96, r"world\.canvas = 96: base bundled was made for 64"),
    ("world.patch", 16, r"world\.patch = 16: base bundled was made for 8"),
    ("extract.layer", 9, r"extract\.layer = 9: .* base bundled has 4 blocks, give -4 to -1 or 1"),
    ("extract.layer", 0, r"extract\.layer = 0: "),
    ("extract.layer", 2, r"extract\.layer = 2: the projector of base bundled reads layer -1"),
    (
        "diff.layers",
        [4],
        r"diff\.layers = \[4\]: the language model of base bundled has layers 0 to 3",
    ),
    ("bases.mine", {"source": "bundled"}, r"bases\.mine\.source = 'bundled': there is no models/"),
]


@pytest.mark.parametrize(("place", "value", "sentence"), WRONG)
def test_what_does_not_fit_a_base_is_one_sentence(monkeypatch, place, value, sentence):
    monkeypatch.chdir(ROOT)
    (told,) = said(place, value)
    assert re.search(f"^{sentence}", told), told
    assert "\n" not in told


def test_a_word_tells_the_bases_of_the_two_worlds_apart():
    known = {"drawn": set(vocabulary(DRAWN)), "photos": set(vocabulary(photographs()))}
    for world, word in WORDS.items():
        assert [word in words for name, words in known.items()] == [n == world for n in known]


def test_a_world_of_photographs_needs_them_and_a_base_that_knows_their_words(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("steps.data.album.STAMPS", tmp_path / "stamps")
    values = changed("world.sprites", "photos")
    values["items"]["novel_share"] = 1.0
    told = list(missing(P.check(values)))
    assert "/stamps; install Debian's tuxpaint-stamps-default" in told[0]
    (tmp_path / "stamps").mkdir()
    (told,) = missing(P.check(values))
    assert "base bundled was made for another world, it does not know the word 'category'" in told
    values["bases"] = {"photos": {"source": "bundled"}}
    assert list(missing(P.check(values))) == []


def test_what_fits_is_let_through(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert said("extract.layer", 4) == [] == said("seeds", [0])
    values = changed("extract.layer", 2)
    values["extract"]["projector"] = False
    assert list(missing(P.check(values))) == []


def test_a_base_that_is_made_anew_has_the_recipes_sizes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    values = changed("bases", {"new": {"source": "train"}})
    values["world"]["canvas"] = 96
    assert list(missing(P.check(values))) == []
    values["recipe"]["model"]["layers"] = 2
    assert ["diff.layers = [2]" in told for told in missing(P.check(values))] == [True]


def test_a_base_from_a_folder_is_asked_for_its_layers_alone(tmp_path):
    config = {"vision_config": {"num_hidden_layers": 2, "image_size": 336}, "text_config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config | {"vision_feature_layer": -2}))
    base = {"source": "hub", "path": str(tmp_path)}
    (told,) = said("bases", {"mine": base})
    assert "extract.layer = -1: the projector of base mine reads layer -2" in told
    assert said("bases", {"mine": {"source": "hub", "path": "someone/model"}}) == []


@pytest.mark.parametrize("study", [None, "smoke"])
def test_the_plan_says_it_first(monkeypatch, tmp_path, study):
    import yaml

    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow/studies").mkdir(parents=True)
    (tmp_path / "workflow/studies/smoke.yaml").write_text("")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed("seeds", [0])))
    with pytest.raises(P.ParamsError, match=r"^(params|workflow)\S*yaml.*there is no models/bundl"):
        plan(study)
    bare = changed("bases", {"new": {"source": "train"}})
    bare["probes"]["photos"] = "no/such"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(bare))
    with pytest.raises(P.ParamsError, match=r"probes\.photos = 'no/such': there is no folder no/"):
        plan(study)
    assert not (tmp_path / "results").exists()
    bare["probes"]["photos"] = "off"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(bare))
    told = json.loads((tmp_path / plan(study).photographs).read_text())
    assert told["folder"] is None


def test_a_larger_encoder_has_to_be_there_and_to_fit(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    values = changed("instruments", ["vqa", "reuse"])

    def told(path):
        values["reuse"]["encoders"] = {"larger": str(path)}
        return list(missing(P.check(values)))

    (said,) = told("no/such")
    assert said == "reuse.encoders.larger = 'no/such': give a folder in which a " + (
        "SiglipVisionModel was saved"
    )
    config = {"model_type": "siglip_vision_model", "image_size": 224}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "was saved" in told(tmp_path)[0]  # without weights
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "it reads images of 224 pixels, and world.canvas = 64" in told(tmp_path)[0]
    (tmp_path / "config.json").write_text(json.dumps(config | {"image_size": 64}))
    assert told(tmp_path) == []
    values["instruments"] = ["vqa"]
    assert told("no/such") == []  # nobody asks for it
    values["reuse"]["encoders"] = {"original": "x"}
    with pytest.raises(P.ParamsError, match="the name original is one of the page's own"):
        P.check(values)
