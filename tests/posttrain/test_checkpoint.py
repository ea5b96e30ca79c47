"""Weights from elsewhere: taken whole or as an adapter, and every way in which they do not fit."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from steps import outside
from steps.models import load
from steps.params import ParamsError, check, read_yaml
from steps.posttrain import alike, checkpoint
from steps.stage import Missing, StageError

WEIGHT = "model.multi_modal_projector.linear_1.weight"


@pytest.fixture
def mine(base, tmp_path):
    """A copy of the base's model in which one weight is another."""
    folder = tmp_path / "mine"
    shutil.copytree(base / "instruct", folder)
    model = load.vlm(folder)
    with torch.no_grad():
        dict(model.named_parameters())[WEIGHT][0, 0] += 0.5
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def told(folder, out, path=None):
    """The stage's input `weights` for a folder, as the plan writes it."""
    file = out.with_name("seed0.json")
    file.write_text(outside.text(outside.told(str(path or folder), None)))
    return file


def edit(folder, name, **values):
    """Set keys of a JSON file; `vision_config__x` is x in vision_config."""
    facts = json.loads((folder / name).read_text())
    for key, value in values.items():
        *inside, last = key.split("__")
        node = facts
        for part in inside:
            node = node[part]
        node[last] = value
    (folder / name).write_text(json.dumps(facts))


def test_one_changed_weight_arrives_and_nothing_else(base, items, mine, out):
    (mine / "optimizer.pt").write_bytes(b"a trainer's own state")
    inputs = {"base": base, "items": items, "weights": told(mine, out)}
    metrics = checkpoint.run(SimpleNamespace(), inputs, out)
    new, old = (load.vlm(at).state_dict() for at in (out, base / "instruct"))
    changed = [name for name in old if not torch.equal(new[name], old[name])]
    assert changed == [WEIGHT]
    gap = new[WEIGHT] - old[WEIGHT]
    assert gap[0, 0].item() == pytest.approx(0.5) and gap.count_nonzero() == 1
    names = {p.name for p in (base / "instruct").iterdir()}
    assert {p.name for p in out.iterdir()} == names
    for name in names - {"model.safetensors"}:
        assert (out / name).read_bytes() == (base / "instruct" / name).read_bytes()
    assert metrics["dose/projector"] > 0 == metrics["dose/tower"] and metrics["dose/kl"] > 0
    assert not any(name.startswith("budget/") for name in metrics)


def test_shards_are_joined_and_a_lost_one_is_named(base, mine, out):
    wanted = load.vlm(mine)
    (mine / "model.safetensors").unlink()
    wanted.save_pretrained(mine, max_shard_size="20KB")
    shards = sorted(mine.glob("model-*.safetensors"))
    assert len(shards) > 1
    checkpoint.put(str(mine), None, base, out)
    for name, weights in load.vlm(out).state_dict().items():
        assert torch.equal(weights, wanted.state_dict()[name])
    shards[0].unlink()
    with pytest.raises(Missing, match=f"has no {shards[0].name}, which model.safetensors.index"):
        checkpoint.readable(mine)


def test_an_adapter_is_merged(base, tmp_path, out):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["multi_modal_projector"]
    )
    model = get_peft_model(load.vlm(base / "instruct"), config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights += 0.1 * torch.randn_like(weights)
    model.save_pretrained(tmp_path / "adapter")
    assert checkpoint.kind(tmp_path / "adapter") == "adapter"
    checkpoint.put(str(tmp_path / "adapter"), None, base, out)
    merged, plain = load.vlm(out), load.vlm(base / "instruct")
    image = merged.config.image_token_id
    ids = torch.tensor([[image] * merged.config.image_seq_length + [5, 6, 7]])
    seen = {"input_ids": ids, "pixel_values": torch.randn(1, 3, 16, 16)}
    with torch.no_grad():
        want, got, before = (m(**seen).logits for m in (model, merged, plain))
    assert (want - got).abs().max() <= 1e-5
    assert (want - before).abs().max() > 1e-2
    names = {p.name for p in (base / "instruct").iterdir()}
    assert {p.name for p in out.iterdir()} == names
    file = tmp_path / "adapter/adapter_config.json"
    for key, value, why in (("peft_type", "IA3", "peft_type"), ("target_modules", ["no"], "fit")):
        facts = json.loads(file.read_text())
        file.write_text(json.dumps(facts | {key: value}))
        with pytest.raises((StageError, TypeError), match=why):
            checkpoint.put(str(tmp_path / "adapter"), None, base, out)
        file.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("__0_0.distcp", "accelerate merge-weights"),
        ("model_world_size_2_rank_0.pt", "verl.model_merger"),
        ("mp_rank_00_model_states.pt", "zero_to_fp32.py"),
        ("pytorch_model.bin", "pickled"),
        ("notes.md", "has no .*safetensors"),
    ],
)
def test_what_is_not_read_is_refused_with_its_own_remedy(base, tmp_path, out, name, says):
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / name).write_bytes(b"no matter")
    with pytest.raises(StageError, match=says):
        checkpoint.put(str(folder), None, base, out)
    assert not any(out.iterdir())


def test_a_file_cut_short_is_named(base, mine, out):
    whole = (mine / "model.safetensors").read_bytes()
    (mine / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(StageError, match="model.safetensors is cut short"):
        checkpoint.put(str(mine), None, base, out)


@pytest.mark.parametrize(
    ("file", "key", "value", "says"),
    [
        ("config.json", "vision_config__patch_size", 4, "patch_size is 4, and the base's is 8"),
        ("config.json", "vision_config__image_size", 32, "image_size is 32, and the base's is 16"),
        ("config.json", "vision_feature_layer", -2, "vision_feature_layer is -2, .* base's is -1"),
        ("config.json", "image_token_id", 7, "image_token_(id|index) is 7"),
        ("config.json", "text_config__intermediate_size", 1, "intermediate_size is 1"),
        ("config.json", "text_config__num_hidden_layers", 1, "is not read: .*num_hidden_layers"),
        ("config.json", "model_type", "unheard", "is not read: "),
        ("tokenizer_config.json", "eos_token", "the", "eos_token is 'the'"),
    ],
)
def test_another_model_is_refused_by_the_field(base, mine, out, file, key, value, says):
    edit(mine, file, **{key: value})
    with pytest.raises(StageError, match=says):
        checkpoint.put(str(mine), None, base, out)


def test_other_words_are_refused(base, mine, out):
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(mine)
    words.add_tokens(["zebra"])
    words.save_pretrained(mine)
    with pytest.raises(StageError, match=r"vocabulary size is \d+, and the base's is \d+"):
        checkpoint.put(str(mine), None, base, out)


def test_weights_that_lack_or_are_not_numbers_are_refused(base, mine, out):
    from safetensors.torch import load_file, save_file

    weights = load_file(mine / "model.safetensors")
    name = next(n for n in weights if "linear_1.weight" in n)
    weights[name][0, 0] = float("nan")
    save_file(weights, mine / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match="linear_1.weight is not finite"):
        checkpoint.put(str(mine), None, base, out)
    weights.pop(name)
    save_file(weights, mine / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match="lacks 1 weights, among them .*linear_1.weight"):
        checkpoint.put(str(mine), None, base, out)


def test_the_base_does_not_differ_from_itself(base):
    assert list(alike.differences(base / "instruct", base / "instruct")) == []


def test_a_changed_file_changes_what_is_told(mine, tmp_path):
    known = tmp_path / "known.json"
    before = outside.told(str(mine), None, known)
    assert outside.told(str(mine), None, known) == before == outside.told(str(mine), None)
    (mine / "optimizer.pt").write_bytes(b"of no interest")
    assert outside.told(str(mine), None, known) == before
    edit(mine, "config.json", image_token_id=7)
    assert outside.told(str(mine), None, known)["sha256"] != before["sha256"]


def test_a_folder_changed_since_the_plan_is_refused(base, items, mine, out):
    inputs = {"base": base, "items": items, "weights": told(mine, out)}
    edit(mine, "config.json", image_token_id=7)
    with pytest.raises(StageError, match="is not what .* says: run the study again"):
        checkpoint.run(SimpleNamespace(), inputs, out)


@pytest.mark.parametrize(
    ("keys", "says"),
    [({}, "path"), ({"path": ""}, "path"), ({"path": "a/b", "learning_rate": 1.0}, "learning")],
)
def test_an_arm_needs_a_path_and_has_no_other_keys(keys, says):
    values = read_yaml(checkpoint_params())
    values["arms"]["mine"] = {"method": "checkpoint", **keys}
    with pytest.raises(ParamsError, match=rf"arms\.mine\.{says}"):
        check(values)
    values["arms"]["mine"] = {"method": "checkpoint", "path": "runs/{seed}", "revision": "v1"}
    assert check(values).arm_section("mine").path == "runs/{seed}"
    assert outside.place("runs/{seed}", 3) == "runs/3"


def checkpoint_params():
    from pathlib import Path

    return Path(__file__).parents[2] / "params.yaml"
