"""What a study will cost: by hand, against PyTorch's own counts, and against planted constants."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps.params import load
from steps.posttrain import adapters, budget
from steps.posttrain.budget import PARTS, Passes
from steps.stage import STAGES, StageError
from steps.study.costs import (
    calibrate,
    formulas,
    graph,
    limits,
    machine,
    memory,
    shapes,
    shown,
    work,
)
from steps.study.costs.formulas import Blocks
from steps.study.costs.graph import Job
from steps.study.costs.machine import Speed
from steps.study.costs.rows import Device, Row
from steps.study.costs.table import COSTS, PROCESSOR
from steps.study.costs.talk import Talk
from steps.study.costs.work import AMOUNTS, Case, Work

TALK = Talk(asked=20, said=12, longest=30, told=40, source="by hand")
SEVEN = Blocks(layers=28, width=3584, inner=3584, keys=512, feed_forward=18944, gated=True)
"""Qwen2.5-7B's language model."""


def config(tied=True):
    """A LLaVA's, large enough that matrices are what counts."""
    from transformers import LlavaConfig, Qwen2Config, SiglipVisionConfig

    vision = SiglipVisionConfig(
        hidden_size=96, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4,
        image_size=64, patch_size=8, vision_use_head=False,
    )  # fmt: skip
    text = Qwen2Config(
        vocab_size=300, hidden_size=128, intermediate_size=352, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=299, image_seq_length=64,
        vision_feature_layer=-1, vision_feature_select_strategy="full", tie_word_embeddings=tied,
    )  # fmt: skip


@pytest.fixture(scope="module")
def shape():
    return shapes.of(config(), "by hand")


@pytest.fixture(scope="module")
def vlm():
    from transformers import LlavaForConditionalGeneration

    torch.manual_seed(0)
    return LlavaForConditionalGeneration._from_config(config(), attn_implementation="eager")


LIGHT = ("trained", "logged", "stability")
"""Stages that only start, and read or copy a little."""


def case(shape, **changes):
    """A job's case on the default params; changes: of the section train."""
    params = load()
    train = params.train.model_copy(update=changes)
    return Case(params.model_copy(update={"train": train}), shape, TALK)


def told(arm, shape, **changes):
    """The same with an arm."""
    one = case(shape, **changes)
    return Case(one.params, shape, TALK, arm, one.params.arm_section(arm))


def batch(rows, words):
    ids = torch.randint(0, 298, (rows, 64 + words))
    ids[:, :64] = 299
    return {"input_ids": ids, "pixel_values": torch.randn(rows, 3, 64, 64)}


def test_formulas_by_hand():
    assert formulas.attention(SEVEN, 10, 100) == 4 * 28 * 3584 * 10 * 100
    # Qwen2.5-7B keeps 56 KiB of keys and values a token at 16 bits.
    assert formulas.cache(SEVEN, 1, size=2) == 56 * 1024
    states = formulas.states(trained=100, frozen=0, low=False)
    assert sum(states.values()) == 1600 and states["optimiser"] == 800
    assert formulas.states(0, 100, low=True) == {"weights": 600, "gradients": 0, "optimiser": 0}
    assert formulas.dictionary(160, 640, 512) == 12 * 160 * 640 * 512


def test_activations_are_the_paper_s():
    """Korthikanti et al.: 34 s b h at 16 bits, of which two are dropout's masks; 2 s b h kept."""
    gpt = Blocks(layers=10, width=64, inner=64, keys=64, feed_forward=256, gated=False)
    assert formulas.activations(gpt, 7, 2) == 10 * 7 * 64 * (34 - 2)
    assert formulas.activations(gpt, 7, 2, recompute=True) == 7 * 64 * (2 * 10 + 32)


def test_activations_are_what_autograd_keeps(vlm):
    """Bytes that a backward pass saves, each storage once, weights left out."""
    own, kept = {p.untyped_storage().data_ptr() for p in vlm.parameters()}, {}

    def pack(tensor):
        place = tensor.untyped_storage()
        if place.data_ptr() not in own:
            kept[place.data_ptr()] = place.nbytes()
        return tensor

    vlm.set_attn_implementation("sdpa")
    words = torch.randn(4, 128, 128)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = vlm.model.language_model(inputs_embeds=words).last_hidden_state
    vlm.set_attn_implementation("eager")
    found = formulas.activations(shapes.of(config(), "").language, 4 * 128, 4)
    assert out.shape == words.shape
    assert 0.6 < found / sum(kept.values()) < 1.1


def test_a_shape_is_that_of_the_bundled_weights():
    from steps.models.base import _parameters

    params = load()
    found = shapes.shape(params, "bundled")
    assert found.parameters == _parameters(Path("models/bundled/instruct/model.safetensors"))
    assert (found.tokens, found.patches, found.heads, found.language.layers) == (64, 64, 5, 4)


def test_a_base_without_a_configuration_is_told(tmp_path):
    base = SimpleNamespace(source="hub", path=str(tmp_path), revision=None)
    with pytest.raises(StageError, match=r"bases\.mine\.path"):
        shapes.shape(SimpleNamespace(bases={"mine": base}), "mine")


def test_embeddings_that_are_no_output_layer_cost_nothing():
    untied = shapes.of(config(tied=False), "")
    assert untied.sizes["language"] - untied.counted["language"] == 300 * 128


@pytest.mark.parametrize("parts", [PARTS, ("projector", "language"), ("projector",)])
def test_flops_are_the_counter_s(shape, vlm, parts):
    """A training step and a forward pass, against PyTorch's count of their products."""
    from torch.utils.flop_counter import FlopCounterMode

    for name, weights in vlm.named_parameters():
        weights.requires_grad_(budget.part(name) in parts)
    given = batch(4, 32)
    with FlopCounterMode(display=False) as counter:
        vlm(**given).logits.float().square().mean().backward()
    found = work.train(case(shape), 4, 96, 1, 4, parts)
    assert found.flops == pytest.approx(counter.get_total_flops(), rel=0.06)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        vlm(**given)
    found = work.read(case(shape), 4, 96, 1, 4)
    assert found.flops == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.parametrize("rank", [0, 4])
def test_flops_are_the_budget_s(shape, vlm, rank):
    """`counted` is what the metric `budget/flops` would be, with adapters too."""
    from peft import get_peft_model

    from steps.study.costs.shapes import of

    model, lora = vlm, case(shape).params.train.lora.model_copy(update={"rank": rank})
    for weights in vlm.parameters():
        weights.requires_grad_(True)
    if rank:
        with torch.device("meta"):
            model = get_peft_model(of(config(), "").meta, adapters.config(lora, vlm, PARTS))
    mine = case(shape, lora=lora)
    found = work.train(mine, 6, 90, 1, 3, PARTS)
    wanted = budget.spent(model, 1, Passes(540, 6))["budget/flops"]
    sizes = sum(budget.sizes(model).values()) - mine.shape.parameters
    assert sum(mine.trained(PARTS).values()) == sum(budget.trainable(model).values())
    assert found.counted == pytest.approx(wanted, rel=1e-9 + 2 * sizes / mine.shape.parameters)


def test_every_stage_has_its_cost(shape):
    assert set(COSTS) == set(STAGES)
    arms = {"sft": "sft", "dpo": "dpo", "grpo": "anchor", "none": "none"}
    for stage, function in COSTS.items():
        one = told(arms[stage], shape) if stage in arms else case(shape)
        found = function(one)
        assert found.start in machine.START, stage
        assert all(getattr(found, name) >= 0 for name in AMOUNTS), stage
        assert any(getattr(found, name) > 0 for name in AMOUNTS) or stage in LIGHT, stage
        assert Speed().seconds(found) > 0, stage
        if stage not in PROCESSOR:
            assert sum(memory.held(stage, one).values()) > 0, stage


def test_stages_of_the_processor_are_those_whose_rules_ask_for_no_gpu():
    text = "".join(path.read_text() for path in sorted(Path("workflow/rules").glob("*.smk")))
    blocks = re.split(r"^rule (\w+):\n", text, flags=re.M)[1:]
    rules = dict(zip(blocks[::2], blocks[1::2], strict=True))
    asks = {name for name, body in rules.items() if name in STAGES and "gpu=" not in body}
    assert asks == PROCESSOR


def test_more_work_costs_more(shape):
    """What a key doubles doubles, and what it leaves alone stays."""
    one = told("grpo", shape)
    grpo = one.told.model_copy(update={"steps": 2 * one.told.steps})
    more = COSTS["grpo"](Case(one.params, shape, TALK, "grpo", grpo))
    less = COSTS["grpo"](one)
    assert more.decode == pytest.approx(2 * less.decode)
    assert more.train == pytest.approx(2 * less.train)
    assert more.disk == less.disk
    again = COSTS["sft"](told("sft", shape, recompute=True))
    assert again.train == pytest.approx(COSTS["sft"](told("sft", shape)).train * 4 / 3, rel=0.02)


def job(out, *inputs):
    return Job(out, out, None, None, None, list(inputs))


def test_jobs_are_put_in_order_and_scheduled():
    """a and b feed c; d reads the folder of both: on two cores 3 + 4, on one all in turn."""
    work = graph.ordered([job("d", "x"), job("c", "x/a", "x/b"), job("x/a"), job("x/b")])
    names = [one.out for one in work]
    assert names.index("c") > max(names.index("x/a"), names.index("x/b"))
    seconds = [{"x/a": 3.0, "x/b": 2.0, "c": 4.0, "d": 1.0}[name] for name in names]
    two = graph.schedule(work, seconds, {"core": 2}, lambda _: {"core": 1})
    assert (two.wall, two.path_s, two.width) == (7.0, 7.0, 2)
    assert [names[number] for number in two.path] == ["x/a", "c"]
    assert graph.schedule(work, seconds, {"core": 1}, lambda _: {"core": 1}).wall == 10.0
    wide = graph.schedule(work, seconds, {"core": 2}, lambda _: {"core": 8})
    assert wide.wall == 10.0  # what asks for more than there is takes all of it


def test_records_give_planted_constants_back(shape):
    """Jobs on a machine half as quick whose processes start at once: found from 30 noisy ones."""
    rng = np.random.default_rng(0)
    true = {name: 2 * value for name, value in Speed().named().items()}
    true |= {name: value / 4 for name, value in true.items() if name.startswith("start.")}
    planted = Speed.of(true, "planted")
    works = [COSTS["vqa"](case(shape)).times(share) for share in rng.uniform(0.02, 1, 15)]
    works += [COSTS["sft"](told("sft", shape)).times(share) for share in rng.uniform(0.02, 1, 15)]
    seconds = [planted.seconds(one) * rng.uniform(0.95, 1.05) for one in works]
    found = calibrate.fit(works, seconds, "30", Speed())
    for of in ("vqa", "sft"):
        whole = COSTS[of](told("sft", shape) if of == "sft" else case(shape))
        assert found.seconds(whole) == pytest.approx(planted.seconds(whole), rel=0.1)
        assert Speed().seconds(whole) < 0.7 * planted.seconds(whole)


def test_a_machine_s_speed_is_kept(tmp_path):
    assert calibrate.load(tmp_path) == Speed()
    mine = Speed(read=1e-9, source="by hand")
    calibrate.save(mine, tmp_path)
    assert calibrate.load(tmp_path) == mine
    (tmp_path / calibrate.FILE).write_text("{")
    with pytest.raises(StageError, match="damaged"):
        calibrate.load(tmp_path)


def test_only_finished_records_count(tmp_path):
    for name, status in (("one", "finished"), ("two", "killed")):
        text = json.dumps({"stage": "vqa", "status": status, "cpu_s": 3.0})
        (tmp_path / f"{name}.record.json").write_text(text)
    (tmp_path / "three.record.json").write_text("{")
    assert len(calibrate.records(tmp_path)) == 1


def test_gpus_have_their_sources():
    every = machine.gpus()
    assert {"a100-40", "a100-80", "h100", "h200", "b200", "l40s", "rtx4090", "a10g"} <= set(every)
    assert all(gpu.source and gpu.bf16 > gpu.float32 for gpu in every.values())
    with pytest.raises(StageError, match="GPU=abacus: give one of a100-40"):
        machine.gpu("abacus")


def test_time_on_a_gpu_by_hand():
    """A PFLOP of training at 35 % of 989 TFLOP/s; sampling waits for memory."""
    gpu, core = machine.gpu("h100"), Speed(start={"model": 5.0})
    trained = gpu.seconds(Work(train=1e15, start="model"), core, 0.35, low=True)
    assert trained == pytest.approx(5 + 1e15 / (989e12 * 0.35))
    whole = gpu.seconds(Work(train=1e15, start="model"), core, 0.35, low=False)
    assert whole == pytest.approx(5 + 1e15 / (67e12 * 0.35))
    drawn = gpu.seconds(Work(decode=1e9, streamed=3350e9, start="model"), core, 0.35, low=True)
    assert drawn == pytest.approx(6)


def on(name):
    return Device(machine.gpu(name), 1, 2, 0.35, Speed())


def row(stage, held, arm=None):
    return Row(stage, "b", arm, 1, Work(disk=2e9, spare=1e9), 1.0, held)


def test_what_cannot_fit_is_told_with_its_key():
    train = load().train
    large = row("sft", {"optimiser": 60 * 2**30, "weights": 30 * 2**30}, "hot")
    (said,) = limits.memory([large], on("h100"), train)
    assert "sft (arm hot) needs 90.0 GiB" in said and "train.lora.rank" in said
    assert list(limits.memory([large], on("h200"), train)) == []
    wide = row("grpo", {"activations": 90 * 2**30}, "grpo")
    (said,) = limits.memory([wide], on("h100"), train)
    assert "train.recompute: true, or lower grpo.micro_batch" in said
    assert list(limits.disk([large, wide], 1, free=5.1e9)) == []
    (said,) = limits.disk([row("harvest", {})], 1, free=2.5e9)
    assert "diff.store: false" in said


def test_seven_billion_parameters_want_more_than_one_gpu(shape):
    """By hand: 16 bytes a parameter and a bfloat16 copy, 18 x 8e9 = 134 GiB and activations."""
    import dataclasses

    sizes = {"tower": 4 * 10**8, "projector": 2 * 10**7, "language": 7_600_000_000}
    big = dataclasses.replace(shape, language=SEVEN)
    big.__dict__["sizes"] = big.__dict__["counted"] = sizes  # cached: as if they had been counted
    held = memory.held("sft", told("sft", big, precision="bfloat16", recompute=True))
    assert held["optimiser"] == 8 * sum(sizes.values())
    assert sum(held.values()) / 2**30 > 134
    many = told("sft", big, precision="bfloat16", processes=8, shard=True)
    assert memory.held("sft", many)["optimiser"] == sum(sizes.values())


def test_text_fits_a_page():
    rows = [row(stage, {"weights": 5e9}) for stage in COSTS]
    work = graph.ordered([job(stage) for stage in COSTS])
    timed = graph.schedule(work, [1.0] * len(work), {"core": 2}, lambda _: {"core": 1})
    found = SimpleNamespace(
        study="pivot_7b", device=on("h100"), rows=rows, jobs=work, plan=timed, hours=1.5,
        assumed=["word " * 60], refused=[], sum=lambda name: 1e12,
    )  # fmt: skip
    text = shown.text(found)
    assert max(map(len, text.splitlines())) <= 100
    assert "144 H100-hours (18 h on 8 GPUs; arXiv 2510.16333)" in " ".join(text.split())
    assert shown.published("embedded") == []
    told = shown.plain(found)
    assert len(json.loads(json.dumps(told))["stages"]) == len(COSTS)


@pytest.mark.slow
def test_the_smoke_study_is_planned(monkeypatch, capsys, tmp_path):
    """The verb itself: a table, a JSON file and nothing else; too small a disk is refused."""
    import shutil

    from steps.__main__ import main

    where = Path("results/smoke")
    before = {p for p in where.rglob("*") if p.name != "plan.json"} if where.is_dir() else None
    assert main(["plan", "smoke", "--gpu", "h100", "--devices", "2"]) == 0
    out = capsys.readouterr().out
    plain = json.loads((where / "plan.json").read_text())
    assert plain["jobs"] == 79 and plain["devices"] == 2 and "79 jobs on 2 x h100" in out
    assert plain["hours"] >= plain["critical_path_hours"] > 0
    after = {p for p in where.rglob("*") if p.name != "plan.json"}
    assert after == (before or set())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e6))
    assert main(["plan", "smoke", "--json"]) == 1
    assert "GB free" in capsys.readouterr().err
