import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from steps.diff import activations, harvest, samples
from steps.models import load


def test_the_four_cells_hold_the_same_tokens_of_the_two_models(harvested, base):
    out, metrics = harvested
    facts = activations.facts(out)
    assert facts["layer"] == 1 and facts["width"] == 24 and set(facts["cells"]) == set("SDMF")
    image, text = activations.index(out, "D"), activations.index(out, "S")
    x = {cell: activations.read(out, cell) for cell in "SDMF"}
    assert x["D"].shape == x["F"].shape == (len(image), 24)
    assert x["S"].shape == x["M"].shape == (len(text), 24)
    assert len(image) == metrics["harvest/tokens"] <= 1200
    assert not torch.equal(x["D"], x["F"]) and not torch.equal(x["S"], x["M"])
    words = image[image["type"] != "image"].reset_index(drop=True)
    columns = ["sample", "token", "type", "split"]
    assert words[columns].equals(text[columns])
    assert set(image["type"]) == {"image", "question", "answer"}
    assert set(image["split"]) == {"fit", "eval"}


def test_rows_are_what_the_model_gives_for_that_sample_alone(harvested, base, items):
    out, _ = harvested
    processor, model = load.processor(base / "aligned"), load.vlm(base / "aligned")
    index, x = activations.index(out, "D"), activations.read(out, "D")
    rows = samples.draw(items, 0)
    for number in (0, 3, 7):
        row, images, _ = rows[number]
        mine = (index["sample"] == number).to_numpy()
        assert set(index["item"][mine]) == {row.item}
        text = f"user : <image> {row.prompt} assistant : {row.response} <eos>"
        given = processor(text=text, images=[images[row.image]], return_tensors="pt")
        with torch.no_grad():
            states = model(**given, output_hidden_states=True).hidden_states[2][0]
        position = index["position"].to_numpy()[mine]
        assert given["input_ids"][0, position].tolist() == index["token"].to_numpy()[mine].tolist()
        expected = states[torch.tensor(position)]
        torch.testing.assert_close(
            x[torch.tensor(mine)], expected, rtol=2e-3, atol=2e-3
        )  # stored as float16
        assert x[torch.tensor(mine)].std() > 0.1


def test_two_runs_give_the_same_bytes(harvested, base, items, params, tmp_path):
    out, metrics = harvested
    (tmp_path / "again").mkdir()
    again = harvest.run(params, {"base": base, "items": items}, tmp_path / "again")
    assert again == metrics
    files = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    assert len(files) == 7
    for name in files:
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_the_size_is_said_before_the_first_forward_pass(base, items, params, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(harvest.log, "text", said.append)

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(harvest, "forward", stop)
    with pytest.raises(KeyboardInterrupt):
        harvest.run(params, {"base": base, "items": items}, tmp_path)
    assert len(said) == 1 and "layer 1 of two models" in said[0] and said[0].endswith("MB")


def test_shards_split_and_join(tmp_path, monkeypatch):
    monkeypatch.setattr(activations, "SHARD", 10)
    x = torch.arange(66.0).view(33, 2)
    activations.write(tmp_path, "D", 4, x.split(7))
    sizes = [len(load_file(p)["layer.4"]) for p in sorted((tmp_path / "D").iterdir())]
    assert sizes == [10, 10, 10, 3]
    facts = {"layer": 4, "cells": {"D": {"tokens": 33}}}
    (tmp_path / "activations.json").write_text(json.dumps(facts))
    assert torch.equal(activations.read(tmp_path, "D"), x)
    keep = torch.arange(33) % 4 == 1
    assert torch.equal(activations.read(tmp_path, "D", keep.numpy()), x[keep])
    (tmp_path / "D" / "00003.safetensors").unlink()
    with pytest.raises(ValueError, match="holds 30 tokens where 33 were written"):
        activations.read(tmp_path, "D")


def test_values_too_large_for_float16_are_kept_in_float32(tmp_path):
    x = torch.tensor([[1.0, 2.0], [1e5, 0.0]])
    activations.write(tmp_path, "D", 0, [x])
    stored = load_file(tmp_path / "D" / "00000.safetensors")["layer.0"]
    assert stored.dtype == torch.float32 and torch.equal(stored, x)


def test_a_base_without_its_earlier_stage_is_named(base, items, params, tmp_path):
    shutil.copytree(base / "instruct", tmp_path / "instruct")
    with pytest.raises(FileNotFoundError, match="no aligned/"):
        harvest.run(params, {"base": tmp_path, "items": items}, tmp_path)
    shutil.copytree(base / "aligned", tmp_path / "aligned")
    path = tmp_path / "aligned" / "tokenizer.json"
    path.write_text(path.read_text().replace('"red"', '"tan"'))
    with pytest.raises(ValueError, match="differ: both stages must read the same tokens"):
        harvest.run(params, {"base": tmp_path, "items": items}, tmp_path)
