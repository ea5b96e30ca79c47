"""A base from the hub: taken over whole, read by its own processor, and run through a study."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from steps import manifest
from steps import params as parameters
from steps.behaviour import margin
from steps.data.language import vocabulary
from steps.models import build, hub, load
from steps.models.look import Looked
from steps.params import ROOT
from steps.stage import StageError, execute
from steps.study.overlay import merge
from tests.models.foreign import TEMPLATE, llava

REPOSITORY = Path(__file__).parents[2]
SMALL = {
    "study": {"name": "foreign"},
    "seeds": [0],
    "arms": dict.fromkeys(
        ("continue", "dpo", "grpo", "anchor", "sighted", "shuffled", "frozen_eye")
    ),
    "items": {"train": 24, "stage1": 8, "tune": 8, "vqa": 24, "far": 8},
    "probes": {
        "classify_train": 60,
        "classify_test": 30,
        "segment_train": 16,
        "segment_test": 8,
        "photos": "off",
    },
    "pairs": {"draws": 2, "max_tokens": 6},
    "train": {"batch": 8, "micro_batch": 8},
    "sft": {"epochs": 1.0},
    "vqa": {"blind": 8, "max_tokens": 6},
    "sharpen": {"items": 6, "draws": 2, "max_tokens": 6},
    "tokens": {"items": 6, "layers": [1]},
    "gaze": {"items": 12, "layers": [1], "draws": 1, "kept": [0.5, 1.0]},
    "swap": {"items": 6, "max_tokens": 6},
    "forget": {"images": 6, "max_tokens": 6},
    "drift": {"images": 12, "k": [3], "bootstrap": 5},
    "localise": {"items": 4},
    "classify": {"penalties": [1.0], "digits_draws": 2},
    "segment": {"epochs": 1, "rates": [0.1]},
    "report": {"samples": 2},
}


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """The model as its author published it."""
    return llava(tmp_path_factory.mktemp("hub") / "llava")


@pytest.fixture(scope="module")
def taken(there, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    hub.take(str(there), None, folder / "instruct")
    return folder / "instruct"


def test_it_comes_over_whole_and_says_where_from(there, taken):
    source = json.loads((taken.parent / "source.json").read_text())
    assert source == {"path": str(there), "revision": None, "sha256": manifest.plain(there)}
    model, processor = load.vlm(taken), load.processor(taken)
    assert model.config.image_seq_length == 16  # not 576, and without the class token
    picture = np.zeros((64, 64, 3), np.uint8)
    ids = processor(text="<image> what", images=picture)["input_ids"][0]
    assert list(ids).count(model.config.image_token_id) == 16
    rules = model.generation_config
    assert rules.pad_token_id == rules.eos_token_id == processor.tokenizer.eos_token_id
    assert rules.eos_token_id not in rules.suppress_tokens
    assert processor.tokenizer.chat_template == TEMPLATE
    from safetensors.torch import load_file

    old, new = (load_file(f / "model.safetensors") for f in (there, taken))
    assert sum(v.numel() for v in old.values()) == sum(v.numel() for v in new.values())


def test_its_images_are_resized_and_normalised_as_its_own_processor_does(there, taken):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    own = CLIPImageProcessorPil.from_pretrained(there)
    wanted = own(list(pictures), return_tensors="pt")["pixel_values"]
    read = load.reader(load.processor(taken).image_processor)
    assert wanted.shape == (3, 3, 32, 32) and torch.equal(read(pictures), wanted)
    small = pictures[:, :32, :32].copy()  # of the tower's size, but normalised otherwise
    assert not torch.allclose(read(small), load.pixels(small), atol=0.1)


def test_images_of_the_bundled_base_go_the_quick_way(monkeypatch):
    images = build.processor(64, 8, vocabulary()).image_processor
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    read = load.reader(images)
    read(pictures[:1])
    monkeypatch.setattr(load, "_slow", lambda *_: pytest.fail("went through the processor"))
    assert torch.equal(read(pictures), load.pixels(pictures))


def questions(words):
    table = pd.DataFrame({"form": ["word", "answer", "word"], "style": ["a", "a", "b"]})
    table["prompt"] = "what color is the circle ?"
    table["value"] = words[:3]
    table["choices"] = [words] * 3
    return table, np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), np.uint8)


def test_answers_of_several_tokens_are_scored_whole(taken):
    """Against the sum over each answer's tokens, one sequence at a time without padding."""
    model, processor = load.vlm(taken), load.processor(taken)
    words = ["red", "yellow", "purple", "orange"]
    tokenizer = processor.tokenizer
    assert max(len(tokenizer.tokenize(f" {w}")) for w in words) > 1
    table, pictures = questions(words)
    found = margin.margins(Looked(model, processor, pictures), table)
    pixels = load.reader(processor.image_processor)(pictures)
    for i, (lead, value) in enumerate(zip(["", " answer :", ""], table["value"], strict=True)):
        asked = f"USER: {'<image>' * 16}\n{table['prompt'][0]} ASSISTANT:{lead}"
        scores = []
        for word in words:
            before = len(tokenizer(asked, add_special_tokens=False)["input_ids"])
            ids = tokenizer(f"{asked} {word}", return_tensors="pt", add_special_tokens=False)
            with torch.no_grad():
                out = model(**ids, pixel_values=pixels[[i]]).logits[0].double().log_softmax(-1)
            told = ids["input_ids"][0]
            scores.append(sum(out[k - 1, told[k]].item() for k in range(before, len(told))))
        chance = torch.tensor(scores, dtype=torch.float64).softmax(0)[words.index(value)].item()
        assert found[i] == pytest.approx(np.log(chance / (1 - chance)), abs=1e-4)
    assert np.ptp(found) > 0.01


def test_whole_tokens_score_the_same_either_way(tmp_path):
    from types import SimpleNamespace

    sizes = SimpleNamespace(
        tower_width=16, tower_layers=1, tower_heads=2, width=24, layers=2, heads=3, feed_forward=32
    )
    model = build.vlm(build.config(sizes, 64, 8, vocabulary()), 0).eval()
    processor = build.processor(64, 8, vocabulary())
    table, pictures = questions(["red", "yellow", "purple", "orange"])
    begun = ["", "answer :", ""]
    assert margin._whole(processor.tokenizer, table)
    seen = Looked(model, processor, pictures)
    quick, spelt = (score(seen, table, begun) for score in (margin._words, margin._spelt))
    for one, other in zip(quick, spelt, strict=True):
        torch.testing.assert_close(one.log_softmax(0), other.log_softmax(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", {"model_type": "clip"}, "is of type 'clip': give one of"),
        ("config.json", {"vision_feature_layer": [-2, -1]}, "reads the layers"),
        ("config.json", {"image_token_index": 7, "image_token_id": 7}, "set image_token_id"),
        ("chat_template.json", None, "has no chat template"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(there, tmp_path, file, change, said):
    folder = shutil.copytree(there, tmp_path / "llava")
    if change is None:
        (folder / file).unlink()
    else:
        told = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(told | change))
    with pytest.raises(StageError, match=said) as error:
        hub.take(str(folder), None, tmp_path / "base" / "instruct")
    assert str(folder) in str(error.value)


def test_a_folder_has_no_revision(there, tmp_path):
    with pytest.raises(StageError, match="is a folder, which has no revision 'main'"):
        hub.take(str(there), "main", tmp_path / "instruct")


def test_a_changed_folder_has_another_hash(there, tmp_path):
    folder = shutil.copytree(there, tmp_path / "llava")
    first = hub.take(str(folder), None, tmp_path / "a" / "instruct")["sha256"]
    (folder / "README.md").write_text("Fixed a typo.")
    assert hub.take(str(folder), None, tmp_path / "b" / "instruct")["sha256"] != first


@pytest.mark.slow
def test_a_study_of_it_runs_to_its_report(there, tmp_path):
    """Every stage that a base from the hub has, through the contract that the engines call."""
    values = merge(parameters.read_yaml(REPOSITORY / ROOT), SMALL)
    values["bases"] = {"mine": {"source": "hub", "path": str(there)}}
    values["extract"]["layer"] = -2
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    results = tmp_path / "results" / "foreign"

    def run(stage, out, keys, inputs, base=None, arm=None, seed=0):
        found = {name: results / path for name, path in inputs.items()}
        return execute(stage, tmp_path / "params.yaml", results / out, keys, found, base, arm, seed)

    base, items, probes = "base/mine", "items/seed0", "probes/seed0"
    run("hub", base, ["bases.mine"], {}, "mine", seed=None)
    run("items", items, ["world", "items", "data"], {})
    drawn = {"base": base, "items": items}
    pairs = run("pairs", "pairs/mine/seed0", ["pairs"], drawn, "mine")
    assert pairs["pairs/kept"] > 8
    drawn["pairs"] = "pairs/mine/seed0"
    run("probes", probes, ["world", "probes", "data.source"], {})
    read = ["features", "classify", "segment"]
    run("baselines", "baselines/mine/seed0", read, {"base": base, "probes": probes}, "mine")
    for arm in ("none", "sft"):
        level, who = f"mine/{arm}/seed0", ("mine", arm)
        keys = ["train", "sft", "arms.sft"] if arm == "sft" else []
        given = drawn if arm == "sft" else {"base": base}
        moved = run(arm, f"model/{level}", keys, given, *who)
        assert (moved["dose/tower"] > 0) == (arm == "sft")
        model, seen = {"model": f"model/{level}"}, {"probes": probes}
        told = run("vqa", f"vqa/{level}", ["vqa"], model | {"items": items}, *who)
        assert np.isfinite(told["vqa/margin"])
        for stage in ("sharpen", "tokens", "gaze"):
            run(stage, f"{stage}/{level}", [stage], model | {"items": items}, *who)
        both = model | {"base": base}
        told = run("swap", f"swap/{level}", ["swap"], both | {"items": items}, *who)
        assert (told["swap/margin/main/tower"] != 0) == (arm == "sft")
        beside = both | {"reference": "model/mine/none/seed0", "probes": probes}
        told = run("drift", f"drift/{level}", ["drift"], beside, *who)
        assert (told["drift/weights/proj"] > 0) == (arm == "sft")
        asked = model | {"items": items, "pairs": "pairs/mine/seed0"}
        told = run("localise", f"localise/{level}", ["localise"], asked, *who)
        assert told["localise/answer/encoder/gradient/enrichment"] > 0
        run("extract", f"extract/{level}", ["extract"], model, *who)
        cut = {"extract": f"extract/{level}"}
        run("features", f"features/{level}", ["features"], cut | seen, *who)
        seen["features"] = f"features/{level}"
        for probe in ("classify", "segment"):
            run(probe, f"{probe}/{level}", [probe], seen, *who)
        named = model | {"probes": probes, "classify": f"classify/{level}"}
        told = run("forget", f"forget/{level}", ["forget"], named, *who)
        assert told["forget/gap"] == pytest.approx(told["forget/lost"] - told["forget/gained"])
    stages = "base items pairs model classify segment vqa sharpen tokens gaze baselines".split()
    stages += ["swap", "forget", "drift", "localise"]
    keys = "study seeds bases arms contrasts instruments data.source world.sprites gaze.seeds"
    read = [*keys.split(), "diff", "report"]
    told = run("report", "report", read, {stage: stage for stage in stages}, seed=None)
    assert told["report/missing"] == 0
    page = (results / "report/index.html").read_text()
    assert "Not measured: this base has no model from before visual tuning." in page
