"""Eye or mind: arms of which it is known what they changed, and the stage on tiny models."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from steps.behaviour import swap, vqa
from steps.models import load
from steps.models.sample import prompts
from steps.posttrain.budget import PARTS, part
from steps.stage import StageError

BUNDLED = Path(__file__).parents[2] / "models" / "bundled"
INTERACTIONS = ("tower_projector", "tower_language", "projector_language", "eye_language", "all")


def saved(model, like, folder):
    """A model's folder: the weights of `model`, all else as in `like`."""
    model.save_pretrained(folder)
    for path in like.iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, folder)
    return folder


def changed(folder, parts, out):
    """An arm that changed every weight of `parts` by much, and no other."""
    model = load.vlm(folder)
    torch.manual_seed(7)
    for name, weights in model.named_parameters():
        if part(name) in parts:
            weights.data += (
                0.3 * weights.std(correction=0).clamp_min(0.05) * torch.randn_like(weights)
            )
    return saved(model, folder, out)


@pytest.fixture(scope="module")
def given(read, tmp_path_factory):
    """The louder tiny model as a base's folder, and 24 questions."""
    base = tmp_path_factory.mktemp("swap") / "base"
    shutil.copytree(read.folder / "model", base / "instruct")
    return SimpleNamespace(base=base, items=read.folder / "items")


@pytest.fixture
def told():
    return SimpleNamespace(items=16, batch=8, max_tokens=3, margin=True, merges=[0.5])


def run(told, model, base, items, out):
    out.mkdir(exist_ok=True)
    who = SimpleNamespace(study="s", base="b", arm="a", seed=3)
    inputs = {"model": model, "base": base, "items": items}
    params = SimpleNamespace(swap=told, run=who)
    metrics = swap.run(params, inputs, out)
    assert all(np.isfinite(value) for value in metrics.values())
    rows = pd.read_parquet(out / "items.parquet")
    again = swap.rescored(params, {"items": items}, out, out)
    assert again == {k: v for k, v in metrics.items() if not k.startswith("swap/decay/")}
    pd.testing.assert_frame_equal(pd.read_parquet(out / "items.parquet"), rows)
    return metrics, rows


def test_identical_models_give_zeros_everywhere(given, told, tmp_path):
    metrics, items = run(told, given.base / "instruct", given.base, given.items, tmp_path)
    contract = ["study", "base", "arm", "seed", "instrument", "item", "raw", "strict", "lenient"]
    assert list(items.columns[:9]) == contract and items.columns[-1] == "margin"
    names = {f"swap_{cell}" for cell in swap.CELLS} | {"merge_flat_0.5", "merge_decay_0.5"}
    assert set(items["instrument"]) == names and len(swap.CELLS) == 8
    assert items.groupby("instrument")["item"].nunique().eq(16).all()
    for name, value in metrics.items():
        if any(word in name for word in ("main", "interaction", "shapley", "total", "gain")):
            assert value == 0, name
    assert metrics["swap/margin/000"] == metrics["swap/margin/merge/flat/0.5"] != 0


@pytest.mark.slow
@pytest.mark.parametrize("moved", PARTS)
def test_an_arm_that_changed_one_part_has_no_effect_elsewhere(given, told, moved, tmp_path):
    """Calibration: the whole gain is that part's, exactly, and nothing interacts with it."""
    arm = changed(given.base / "instruct", [moved], tmp_path / "arm")
    metrics, items = run(told, arm, given.base, given.items, tmp_path / "out")
    table, pictures = swap.questions(given.items, 16)
    processor = load.processor(arm)
    known = [
        vqa.ask(load.vlm(folder), processor, table, pictures, 8, 3, True)
        for folder in (given.base / "instruct", arm)
    ]
    gain = (known[1][1] - known[0][1]).mean()
    for head in ("swap", "swap/margin"):
        for name in set(PARTS) - {moved}:
            assert metrics[f"{head}/main/{name}"] == metrics[f"{head}/shapley/{name}"] == 0
        for name in INTERACTIONS:
            assert metrics[f"{head}/interaction/{name}"] == 0
        for name in ("main", "shapley"):
            assert metrics[f"{head}/{name}/{moved}"] == pytest.approx(metrics[f"{head}/total"])
    assert metrics["swap/margin/total"] == pytest.approx(gain) and abs(gain) > 1e-3
    assert metrics[f"swap/margin/main/{moved}/se"] > 0
    eye = 0 if moved == "language" else gain
    assert metrics["swap/margin/main/eye"] == pytest.approx(eye)
    rows = items[items["instrument"] == "swap_111"]
    assert rows["raw"].tolist() == known[1][0]
    np.testing.assert_array_equal(rows["margin"], known[1][1])


@pytest.mark.slow
def test_each_model_is_made_of_the_parts_that_its_name_says(given, told, tmp_path):
    """Built apart, by putting whole modules of the one model into the other."""
    arm = changed(given.base / "instruct", PARTS, tmp_path / "arm")
    told.merges = [0.0, 1.0]
    metrics, items = run(told, arm, given.base, given.items, tmp_path / "out")
    by = {name: rows.reset_index(drop=True) for name, rows in items.groupby("instrument")}
    table, pictures = swap.questions(given.items, 16)
    processor = load.processor(arm)
    for cell in swap.CELLS:
        model, other = load.vlm(given.base / "instruct"), load.vlm(arm)
        names = ("vision_tower", "multi_modal_projector", "language_model")
        for name, digit in zip(names, cell, strict=True):
            if digit == "1":
                setattr(model.model, name, getattr(other.model, name))
        if cell[2] == "1":
            model.lm_head = other.lm_head
        texts, odds = vqa.ask(model, processor, table, pictures, 8, 3, True)
        assert by[f"swap_{cell}"]["raw"].tolist() == texts
        np.testing.assert_allclose(by[f"swap_{cell}"]["margin"], odds, atol=1e-5)
        assert metrics[f"swap/margin/{cell}"] == pytest.approx(odds.mean(), abs=1e-5)
    assert items.groupby("instrument")["margin"].mean().loc["swap_000":].nunique() == 8
    for instrument, same in (("merge_flat_0", "swap_110"), ("merge_flat_1", "swap_111")):
        pd.testing.assert_frame_equal(
            by[instrument].drop(columns="instrument"), by[same].drop(columns="instrument")
        )
    assert metrics["swap/margin/merge/gain/0"] == 0 != metrics["swap/margin/merge/gain/1"]
    for head in ("swap", "swap/margin"):
        total = metrics[f"{head}/shapley/eye"] + metrics[f"{head}/shapley/language"]
        assert total == pytest.approx(metrics[f"{head}/total"])


def test_looks_are_eager_attention(given):
    """Layer by layer, question by question, from the whole matrix."""
    folder = given.base / "instruct"
    model, processor = load.vlm(folder), load.processor(folder)
    table, pictures = swap.questions(given.items, 7)
    found = swap.looks(model, processor, table, pictures, 3)
    model.set_attn_implementation("eager")
    known = []
    for row, picture in zip(table.itertuples(), pictures, strict=True):
        ids = prompts(processor, 64, [row.prompt], [row.response])
        with torch.no_grad():
            seen = load.pixels(picture[None])
            paid = model(**ids, pixel_values=seen, output_attentions=True).attentions
        image = ids["input_ids"][0] == model.config.image_token_id
        words = len(row.response.split())
        known.append([layer[0, :, -words - 1 : -1, image].sum(-1).mean() for layer in paid])
    np.testing.assert_allclose(found, np.mean(known, 0), rtol=1e-4)
    assert found.shape == (2,) and found.dtype == np.float64


def test_the_margin_can_be_left_out(given, told, tmp_path):
    told.margin, told.merges, told.items = False, [], 100
    metrics, items = run(told, given.base / "instruct", given.base, given.items, tmp_path)
    assert not any("margin" in name or "merge" in name for name in metrics)
    assert "margin" not in items and items["item"].nunique() == 24  # all that there are


def test_an_arm_of_another_shape_is_refused(given, told, asked, tmp_path):
    with pytest.raises(StageError, match="trained from this base"):
        run(told, asked[0] / "model", given.base, given.items, tmp_path)


@pytest.mark.slow
def test_a_base_gone_blind_has_lost_it_in_the_eye(given, told, tmp_path):
    """Calibration on a model that answers well: its tower is told nothing any more."""
    arm = load.vlm(BUNDLED / "instruct")
    arm.model.vision_tower.get_input_embeddings().weight.data.zero_()
    folder = saved(arm, BUNDLED / "instruct", tmp_path / "arm")
    told.items, told.max_tokens = 24, 32
    metrics, _ = run(told, folder, BUNDLED, given.items, tmp_path / "out")
    for head in ("swap", "swap/margin"):
        tower = metrics[f"{head}/main/tower"]
        assert tower == pytest.approx(metrics[f"{head}/total"]) and tower < -0.1
        assert metrics[f"{head}/main/language"] == 0
        assert metrics[f"{head}/interaction/eye_language"] == 0
    assert tower + 2 * metrics["swap/margin/main/tower/se"] < 0  # answers alone are too few


@pytest.mark.slow
def test_parts_that_only_fit_their_own_gain_nothing_and_interact(given, told, tmp_path):
    """Calibration: an arm with other weights in all parts, which answers as the base does.

    What the tower adds to its tokens the projector takes off again, and the language model's
    neurons stand in another order. So there is no gain and nothing of the language model's, but
    tower and projector of two models do not fit together, nor do layers that are averaged.
    """
    arm = load.vlm(BUNDLED / "instruct")
    torch.manual_seed(0)
    last = [m for m in arm.model.vision_tower.modules() if hasattr(m, "fc2")][-1]
    shift, first = 10 * torch.randn(len(last.fc2.bias)), arm.model.multi_modal_projector.linear_1
    last.fc2.bias.data += shift
    first.bias.data -= first.weight.data @ shift
    for layer in arm.get_decoder().layers:
        order, mlp = torch.randperm(layer.mlp.down_proj.in_features), layer.mlp
        for weights in (mlp.gate_proj.weight, mlp.up_proj.weight):
            weights.data = weights.data[order]
        mlp.down_proj.weight.data = mlp.down_proj.weight.data[:, order]
    folder = saved(arm, BUNDLED / "instruct", tmp_path / "arm")
    told.items, told.max_tokens = 24, 32
    metrics, items = run(told, folder, BUNDLED, given.items, tmp_path / "out")
    found = {name.removeprefix("swap/margin/"): value for name, value in metrics.items()}
    for name in ("total", "main/language", "interaction/all", "shapley/language"):
        assert found[name] == pytest.approx(0, abs=1e-3), name
    for name in ("tower_language", "projector_language", "eye_language"):
        assert found[f"interaction/{name}"] == pytest.approx(0, abs=1e-3), name
    lost = found["000"] - (found["100"] + found["010"]) / 2
    assert found["interaction/tower_projector"] == pytest.approx(lost, abs=1e-3)
    assert lost - 2 * found["interaction/tower_projector/se"] > 0
    assert found["merge/flat/0.5"] < found["110"] - 0.5
    by = items.groupby("instrument")["raw"].agg(list)
    assert by["swap_000"] == by["swap_001"] == by["swap_110"] == by["swap_111"] != by["swap_100"]
