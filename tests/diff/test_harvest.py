import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from steps.diff import activations, harvest, hooks, samples
from steps.models import load
from steps.stage import Missing, StageError

EVERY = {"residual.0": 24, "heads.0": 24, "mlp.0": 24, "residual.2": 24, "heads.2": 24, "mlp.2": 24}


@pytest.fixture(scope="module")
def wide(base, items, tmp_path_factory):
    """A harvest of all kinds of site in two layers."""
    out = tmp_path_factory.mktemp("wide")
    want = SimpleNamespace(
        run=SimpleNamespace(seed=0, checkpoints=None),
        diff=SimpleNamespace(layers=[0, 2], sites=list(hooks.KINDS), tokens=1200, store=True),
    )
    return out, harvest.run(want, {"base": base, "items": items}, out)


def bytes_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_four_cells_hold_the_same_tokens_of_the_two_models(wide, base):
    out, metrics = wide
    facts = activations.facts(out)
    assert facts["sites"] == EVERY and facts["stored"]
    assert {cell: (of["model"], of["input"]) for cell, of in facts["cells"].items()} == (
        activations.CELLS
    )
    image, text = activations.index(out, "D"), activations.index(out, "S")
    assert len(image) == metrics["harvest/tokens"] <= 1200
    assert len(text) == metrics["harvest/tokens_text"]
    for site in EVERY:
        x = {cell: activations.read(out, cell, site) for cell in "SDMF"}
        assert x["D"].shape == x["F"].shape == (len(image), 24)
        assert x["S"].shape == x["M"].shape == (len(text), 24)
        assert not torch.equal(x["D"], x["F"]) and not torch.equal(x["S"], x["M"])
    columns = ["sample", "item", "split", "token", "type"]
    both = [of[of["type"].isin(["question", "answer"])][columns] for of in (image, text)]
    assert both[0].reset_index(drop=True).equals(both[1].reset_index(drop=True))
    assert set(image["type"]) == {"image", "question", "answer"}
    assert set(text["type"]) == {"told", "question", "answer"}
    assert set(image["split"]) == {"fit", "eval"}
    assert metrics["harvest/megabytes"] == 4 * 6 * 24 * (len(image) + len(text)) / 1e6
    on_disk = sum(p.stat().st_size for p in out.rglob("*.safetensors")) / 1e6
    assert metrics["harvest/megabytes"] < on_disk < 1.1 * metrics["harvest/megabytes"]


@pytest.mark.parametrize("cell", ["D", "M"])
def test_rows_are_what_the_model_gives_for_that_sample_alone(wide, base, items, cell):
    out, _ = wide
    folder = base / activations.CELLS[cell][0]
    processor, model = load.processor(folder), load.vlm(folder)
    index = activations.index(out, cell)
    x = {site: activations.read(out, cell, site) for site in EVERY}
    rows = samples.draw(items, 0)
    for number in (0, 3, 7):
        row, images, _ = rows[number]
        mine = (index["sample"] == number).to_numpy()
        assert set(index["item"][mine]) == {row.item}
        scene = "<image>" if cell == "D" else samples.told(json.loads(row.truth)["things"])
        text = f"user : {scene} {row.prompt} assistant : {row.response} <eos>"
        image = {"images": [images[row.image]]} if cell == "D" else {}
        given = processor(text=text, **image, return_tensors="pt")
        with torch.no_grad(), hooks.capture(model, EVERY) as seen:
            model(**given)
        position = index["position"].to_numpy()[mine]
        assert given["input_ids"][0, position].tolist() == index["token"].to_numpy()[mine].tolist()
        for site, of in x.items():
            known = seen[site][0][torch.tensor(position)]
            torch.testing.assert_close(of[torch.tensor(mine)], known, rtol=1e-3, atol=2e-5)


def test_two_runs_give_the_same_bytes(harvested, base, items, params, tmp_path):
    out, metrics = harvested
    (tmp_path / "again").mkdir()
    again = harvest.run(params, {"base": base, "items": items}, tmp_path / "again")
    assert again == metrics
    assert len(bytes_of(out)) == 7
    assert bytes_of(out) == bytes_of(tmp_path / "again")


def test_a_killed_run_goes_on_and_gives_the_same_bytes(base, items, params, tmp_path, monkeypatch):
    monkeypatch.setattr(harvest, "SHARD", 1)  # a shard a batch
    monkeypatch.setattr(harvest, "BATCH", 8)
    inputs = {"base": base, "items": items}
    outs = [tmp_path / name for name in ("whole", "killed", "resumed")]
    for out in (*outs, tmp_path / "kept"):
        out.mkdir()
    harvest.run(params, inputs, outs[0])
    shards = sorted(p.name for p in (outs[0] / "F").iterdir())
    assert len(shards) > 3

    passes, forward = [], harvest.forward

    def counted(*args):
        if len(passes) == len(shards) + 2:  # cell S is done, and two shards of M or D
            raise KeyboardInterrupt
        passes.append(None)
        return forward(*args)

    params.run.checkpoints = tmp_path / "kept"
    monkeypatch.setattr(harvest, "forward", counted)
    with pytest.raises(KeyboardInterrupt):
        harvest.run(params, inputs, outs[1])
    kept = bytes_of(tmp_path / "kept")
    assert len(kept) == len(shards) + 2

    passes.clear()
    loaded, vlm = [], load.vlm
    monkeypatch.setattr(load, "vlm", lambda folder: loaded.append(folder.name) or vlm(folder))
    monkeypatch.setattr(harvest, "forward", lambda *args: passes.append(None) or forward(*args))
    harvest.run(params, inputs, outs[2])
    assert len(passes) == 3 * len(shards) - 2
    assert loaded == ["aligned", "instruct"]
    assert bytes_of(outs[2]) == bytes_of(outs[0])

    loaded.clear()  # killed again, once all shards were there: none is made anew
    shutil.rmtree(outs[1])
    outs[1].mkdir()
    harvest.run(params, inputs, outs[1])
    assert loaded == [] and bytes_of(outs[1]) == bytes_of(outs[0])


def test_shards_move_where_no_link_can_be_made(
    base, items, params, tmp_path, harvested, monkeypatch
):
    def refuse(*args):
        raise OSError("no links here")

    monkeypatch.setattr(harvest.os, "link", refuse)
    params.run.checkpoints = tmp_path / "kept"
    for name in ("kept", "out"):
        (tmp_path / name).mkdir()
    harvest.run(params, {"base": base, "items": items}, tmp_path / "out")
    assert bytes_of(tmp_path / "out") == bytes_of(harvested[0])


def test_the_size_is_said_before_the_first_forward_pass(base, items, params, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(harvest.log, "text", said.append)

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(harvest, "forward", stop)
    params.diff.sites = ["heads", "residual"]
    with pytest.raises(KeyboardInterrupt):
        harvest.run(params, {"base": base, "items": items}, tmp_path)
    (line,) = said
    assert "4 cells" in line and "48 numbers at 2 sites (heads.1, residual.1) x 2 bytes: " in line
    assert "0.5 MB, stored; a pass holds 0.3 MB" in line
    assert harvest._amount(2.5e9) == "2.5 GB"


def test_a_full_disk_is_told_before_anything_is_read(base, items, params, tmp_path, monkeypatch):
    monkeypatch.setattr(harvest.shutil, "disk_usage", lambda place: SimpleNamespace(free=1e5))
    monkeypatch.setattr(load, "vlm", lambda folder: pytest.fail("loaded a model"))
    with pytest.raises(StageError, match="need 0.2 MB and .* has 0.1 MB free: lower diff.tokens"):
        harvest.run(params, {"base": base, "items": items}, tmp_path)
    params.diff.store = False  # nothing is written then
    harvest.run(params, {"base": base, "items": items}, tmp_path)


def test_without_a_store_the_index_is_the_same_and_nothing_else_is_there(
    base, items, params, tmp_path, harvested
):
    params.diff.store = False
    metrics = harvest.run(params, {"base": base, "items": items}, tmp_path)
    assert metrics == harvested[1] | {"harvest/megabytes": 0}
    names = ["activations.json", "image.parquet", "text.parquet"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    for name in names[1:]:
        assert (tmp_path / name).read_bytes() == (harvested[0] / name).read_bytes()
    assert activations.facts(tmp_path) == activations.facts(harvested[0]) | {"stored": False}


def test_sites_that_are_not_there_are_named(base, items, params, tmp_path):
    params.diff.layers = [1, 3]
    with pytest.raises(StageError, match="diff.layers = 3.*0 to 2"):
        harvest.run(params, {"base": base, "items": items}, tmp_path)
    params.diff.layers, params.diff.sites = [1], ["residual", "values"]
    with pytest.raises(StageError, match="diff.sites = 'values'"):
        harvest.run(params, {"base": base, "items": items}, tmp_path)


def test_bases_whose_stages_do_not_match_are_named(base, items, params, tmp_path):
    shutil.copytree(base / "instruct", tmp_path / "instruct")
    with pytest.raises(Missing, match="no aligned/"):
        harvest.run(params, {"base": tmp_path, "items": items}, tmp_path)
    shutil.copytree(base / "aligned", tmp_path / "aligned")
    path = tmp_path / "aligned" / "processor_config.json"
    kept = path.read_text()
    told = json.loads(kept)
    told["image_processor"]["image_mean"] = [0.4, 0.5, 0.5]
    path.write_text(json.dumps(told))
    with pytest.raises(StageError, match="differ: both stages must read the same images"):
        harvest.run(params, {"base": tmp_path, "items": items}, tmp_path)
    path.write_text(kept)
    path = tmp_path / "aligned" / "tokenizer.json"
    path.write_text(path.read_text().replace('"red"', '"tan"'))
    with pytest.raises(StageError, match="differ: both stages must read the same tokens"):
        harvest.run(params, {"base": tmp_path, "items": items}, tmp_path)
