"""Training at size: adapters, a reference that is asked once, several processes, precision."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from steps import halt, ranks
from steps.posttrain import adapters, dpo, grpo, loop, questions, reference, save, sft
from steps.stage import StageError

METHODS = {"sft": sft, "dpo": dpo, "grpo": grpo}
LORA = {"lora": {"rank": 2, "alpha": 4.0}}


def run(method, told, inputs, out):
    out.mkdir()
    return METHODS[method].run(told, inputs, out), load_file(out / "model.safetensors")


def moved(weights, base):
    old = load_file(base / "instruct" / "model.safetensors")
    assert set(old) == set(weights)
    return {name for name, value in weights.items() if not torch.equal(value, old[name])}


# --- adapters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_adapters_are_merged_into_the_matrices_that_they_stood_for(
    method, inputs, params, tmp_path
):
    metrics, weights = run(method, params(train=LORA), inputs, tmp_path / "out")
    changed = moved(weights, inputs["base"])
    model, _ = save.begin(inputs["base"])
    linear = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    tails = {name.split("layers.")[-1].removeprefix("model.") for name in linear}
    for name in changed:  # files name layers as the hub does, modules as the library does
        assert name.rsplit(".", 1)[0].split("layers.")[-1].removeprefix("model.") in tails, name
        assert not name.endswith("bias") or "projector" in name
    assert any("projector" in name for name in changed)
    assert any("language_model" in n or "layers" in n for n in changed)
    assert metrics["dose/tower"] > 0 and metrics["dose/language"] > 0
    full = METHODS[method].run(params(), inputs, tmp_path / "out")
    assert metrics["budget/flops"] < full["budget/flops"]
    assert metrics["budget/tokens"] == full["budget/tokens"] or method == "grpo"


def test_a_merged_update_is_alpha_over_rank_of_b_times_a(inputs):
    from peft import get_peft_model

    from tests.posttrain.conftest import settings

    model, _ = save.begin(inputs["base"], ["language"])
    told = settings(train=LORA).train.lora
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = get_peft_model(model, adapters.config(told, model, ["language"]))
    torch.manual_seed(0)
    pairs = {}
    for name, module in wrapped.named_modules():
        if hasattr(module, "lora_B") and module.lora_B:
            torch.nn.init.normal_(module.lora_B["default"].weight)
            pairs[name.removeprefix("base_model.model.")] = (
                module.lora_B["default"].weight.detach() @ module.lora_A["default"].weight.detach()
            )
    assert pairs and all("language_model" in name for name in pairs)
    after = adapters.merged(wrapped).state_dict()
    assert set(after) == set(before)
    for name, value in after.items():
        update = pairs.get(name.removesuffix(".weight"))
        expected = before[name] if update is None else before[name] + 4.0 / 2 * update
        assert torch.allclose(value, expected, atol=1e-6), name


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_adapters_resume_where_they_were(method, inputs, params, tmp_path, monkeypatch):
    _, straight = run(method, params(train=LORA), inputs, tmp_path / "straight")
    kept = tmp_path / "checkpoints"
    kept.mkdir()

    class Stopped(Exception):
        pass

    whole = loop.Watch.on_save

    def stop(self, args, state, control, **named):
        whole(self, args, state, control, **named)
        raise Stopped

    monkeypatch.setattr(loop.Watch, "on_save", stop)
    with pytest.raises(Stopped):
        run(method, params(train=LORA, checkpoints=kept), inputs, tmp_path / "stopped")
    monkeypatch.setattr(loop.Watch, "on_save", whole)
    assert loop.newest(kept).name == "step-2"
    _, resumed = run(method, params(train=LORA, checkpoints=kept), inputs, tmp_path / "resumed")
    assert all(torch.equal(straight[name], value) for name, value in resumed.items())


# --- the reference --------------------------------------------------------------------------------


def asked(inputs, params, tmp_path, monkeypatch, **options):
    """The trainer of stage `dpo` as it stands before it trains."""

    class Made(Exception):
        pass

    def stop(trainer, *_, **__):
        raise Made(trainer)

    monkeypatch.setattr(loop, "fit", stop)
    with pytest.raises(Made) as caught:
        dpo.run(params(**options), inputs, tmp_path)
    return caught.value.args[0]


@pytest.mark.parametrize("lora", [{}, LORA])
def test_the_reference_says_what_it_would_have_said_in_training(
    lora, inputs, params, tmp_path, monkeypatch
):
    trainer = asked(inputs, params, tmp_path, monkeypatch, train=lora)
    assert trainer.ref_model is None and trainer.precompute_ref_logps
    base, processor = save.begin(inputs["base"])
    table = questions.kept(inputs["pairs"])
    order = questions.order(len(table), 20, 0)
    batch = next(iter(trainer.get_train_dataloader()))
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    names = ("input_ids", "attention_mask", "pixel_values")
    with torch.no_grad():
        logits = base.eval()(**{n: batch[n] for n in names}).logits[:, :-1].log_softmax(-1)
    told = logits.gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0]
    told = (told * (labels[:, 1:] != -100)).sum(1)
    assert len(table) == 20 and sorted(order) == list(range(20))
    assert torch.allclose(batch["ref_chosen_logps"], told[:4], atol=1e-4)
    assert torch.allclose(batch["ref_rejected_logps"], told[4:], atol=1e-4)


def test_the_references_answers_are_kept_for_a_resumed_run(inputs, params, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    kept.mkdir()
    first = asked(inputs, params, tmp_path, monkeypatch, checkpoints=kept)
    stored = load_file(kept / "reference.safetensors")
    assert {len(v) for v in stored.values()} == {20}

    def again(self, data):
        raise AssertionError("asked again")

    monkeypatch.setattr(reference.OnceTrainer, "_asked", again)
    second = asked(inputs, params, tmp_path, monkeypatch, checkpoints=kept)
    one, other = (next(iter(t.get_train_dataloader())) for t in (first, second))
    assert torch.equal(one["ref_rejected_logps"], other["ref_rejected_logps"])


# --- precision, memory ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_recomputed_activations_change_nothing(method, inputs, params, tmp_path):
    _, kept = run(method, params(), inputs, tmp_path / "kept")
    _, again = run(method, params(train={"recompute": True}), inputs, tmp_path / "again")
    assert max((kept[n] - again[n]).abs().max() for n in kept) < 1e-5
    args = json.loads((tmp_path / "again" / "training_args.json").read_text())
    assert args["activation_checkpointing"] is True


def test_bfloat16_is_for_products_and_weights_stay_float32(inputs, params, tmp_path):
    whole, weights = run("sft", params(), inputs, tmp_path / "float32")
    half, rounded = run("sft", params(train={"precision": "bfloat16"}), inputs, tmp_path / "half")
    assert {v.dtype for v in rounded.values()} == {torch.float32}
    assert not all(torch.equal(weights[n], rounded[n]) for n in weights)
    assert half["train/last/loss"] == pytest.approx(whole["train/last/loss"], rel=0.05)


# --- several processes ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("method", "lora"), [("sft", {}), ("dpo", {}), ("dpo", LORA)])
def test_two_processes_train_as_one(method, lora, inputs, params, tmp_path):
    small = {"learning_rate": 1e-3}
    one, whole = run(method, params(train=lora, **{method: small}), inputs, tmp_path / "one")
    told = params(train={"processes": 2, **lora}, **{method: small})
    two, shared = run(method, told, inputs, tmp_path / "two")
    for name in whole:
        assert torch.allclose(whole[name], shared[name], atol=2e-4), name
    for name, value in one.items():
        assert two[name] == pytest.approx(value, rel=2e-3, abs=1e-4), name
    assert {p.name for p in (tmp_path / "one").iterdir()} == {
        p.name for p in (tmp_path / "two").iterdir()
    }


def shared(params, inputs, out):
    """SFT, or DPO where the run is so called, with weights in shares on CPUs.

    accelerate shares weights on accelerators alone; torch does on CPUs, too, through gloo.
    """
    from accelerate import state

    begin, plugins = state.AcceleratorState.__init__, []

    def started(self, *args, fsdp_plugin=None, **options):
        begin(self, *args, fsdp_plugin=fsdp_plugin, **options)
        plugins.extend([fsdp_plugin] if fsdp_plugin is not None else [])
        self.distributed_type, self.fsdp_plugin = state.DistributedType.FSDP, plugins[0]

    state.AcceleratorState.__init__ = started
    return METHODS[params.run.stage].train(params, inputs, out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "number", "train"),
    [("sft", 2, {}), ("dpo", 2, {}), ("dpo", 1, LORA), ("sft", 1, {"recompute": True})],
)
def test_weights_in_shares_train_as_whole_ones(method, number, train, inputs, params, tmp_path):
    small = {"learning_rate": 1e-3}
    one, whole = run(method, params(train=train, **{method: small}), inputs, tmp_path / "one")
    told = params(train={"processes": number, "shard": True, **train}, **{method: small})
    told.run = dataclasses.replace(told.run, stage=method)
    out = tmp_path / "shared"
    out.mkdir()
    many = ranks.spread(shared, told, inputs, out)
    joined = load_file(out / "model.safetensors")
    assert moved(joined, inputs["base"])
    for name in whole:
        assert torch.allclose(whole[name], joined[name], atol=2e-4), name
    for name, value in one.items():
        assert many[name] == pytest.approx(value, rel=2e-3, abs=1e-4), name


def recorded(asked, trainer):
    """Answers that depend on nothing but the question and the sample's number in its group."""
    words, group = trainer.processing_class.tokenizer, trainer.args.num_generations
    texts = trainer.processing_class.apply_chat_template(
        [
            [{"role": "user", "content": [{"type": "image"}, turns[0]["content"][1]]}]
            for turns in asked
        ],
        tokenize=False,
        add_generation_prompt=True,
    )
    mark = trainer.processing_class.image_token
    patches = trainer.model.config.image_seq_length
    said = []
    for i, turns in enumerate(asked):
        pixel = int(np.asarray(turns[0]["content"][0]["image"])[0, 0, 0])
        color = ["red", "blue", "green"][(pixel + i % group) % 3]
        said.append(words.encode(color, add_special_tokens=False) + [words.eos_token_id])
    return {
        "prompt_ids": [
            words.encode(text.replace(mark, mark * patches), add_special_tokens=False)
            for text in texts
        ],
        "completion_ids": said,
        "logprobs": [[0.0] * len(row) for row in said],
    }


def replayed(params, inputs, out):
    """Stage `grpo` with recorded answers, in each of its processes."""
    from steps.posttrain import rollouts

    rollouts.rollouts = recorded
    return grpo.train(params, inputs, out)


@pytest.mark.slow
@pytest.mark.parametrize("credit", ["uniform", "anchor"])
def test_two_processes_train_as_one_on_recorded_answers(
    credit, inputs, params, tmp_path, monkeypatch
):
    from steps.posttrain import rollouts

    monkeypatch.setattr(rollouts, "rollouts", recorded)
    told = {"learning_rate": 1e-3, "credit": credit, "agree": 100.0}
    found = []
    for number in (1, 2):
        out = tmp_path / str(number)
        out.mkdir()
        sections = params(train={"processes": number}, grpo=told)
        found.append((ranks.spread(replayed, sections, inputs, out), out))
    one, two = (load_file(out / "model.safetensors") for _, out in found)
    assert moved(one, inputs["base"])
    for name in one:
        assert torch.allclose(one[name], two[name], atol=2e-4), name
    for name in ("budget/tokens", "budget/images", "budget/rollout_tokens", "train/last/reward"):
        assert found[0][0][name] == pytest.approx(found[1][0][name]), name


def refused(params, inputs, out):
    if ranks.main():
        raise StageError("sft.learning_rate = 9: lower it")
    ranks.wait()
    return {}


@pytest.mark.slow
def test_what_one_of_several_processes_refuses_is_said_once(inputs, params, tmp_path):
    with pytest.raises(StageError, match="^sft.learning_rate = 9: lower it$"):
        ranks.spread(refused, params(train={"processes": 2}), inputs, tmp_path)


def noticed(params, inputs, out):
    """Stage `sft`, of whose processes the second alone gets notice of a time limit."""
    if not ranks.main():
        os.kill(os.getpid(), signal.SIGUSR1)
    return sft.train(params, inputs, out)


@pytest.mark.slow
def test_notice_to_one_of_several_processes_ends_all_at_one_checkpoint(inputs, params, tmp_path):
    told = params(train={"processes": 2}, checkpoints=tmp_path / "kept")
    told.run.checkpoints.mkdir()
    halt.watch()  # as every stage does; its processes inherit it
    try:
        with pytest.raises(halt.Halted):
            ranks.spread(noticed, told, inputs, tmp_path)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    assert loop.newest(told.run.checkpoints).name == "step-2"


def halted(params, inputs, out):
    """The same with weights in shares."""
    if not ranks.main():
        os.kill(os.getpid(), signal.SIGUSR1)
    return shared(params, inputs, out)


@pytest.mark.slow
def test_weights_in_shares_go_on_where_they_were(inputs, params, tmp_path):
    told = params(train={"processes": 2, "shard": True}, checkpoints=tmp_path / "kept")
    told.run = dataclasses.replace(told.run, stage="sft")
    told.run.checkpoints.mkdir()
    (tmp_path / "whole").mkdir()
    alone = params(train={"processes": 2, "shard": True})
    alone.run = told.run.__class__(**vars(told.run) | {"checkpoints": None})
    ranks.spread(shared, alone, inputs, tmp_path / "whole")
    whole = load_file(tmp_path / "whole" / "model.safetensors")
    halt.watch()
    try:
        with pytest.raises(halt.Halted):
            ranks.spread(halted, told, inputs, tmp_path)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    kept = loop.newest(told.run.checkpoints)
    assert kept.name == "step-2"
    (tmp_path / "out").mkdir()
    metrics = ranks.spread(shared, told, inputs, tmp_path / "out")
    assert metrics["budget/steps"] > 2
    joined = load_file(tmp_path / "out" / "model.safetensors")
    for name in whole:
        assert torch.allclose(whole[name], joined[name], atol=2e-4), name


def test_a_sampler_that_speaks_for_another_model_stops_the_run(
    inputs, params, tmp_path, monkeypatch
):
    from steps.posttrain import rollouts

    monkeypatch.setattr(rollouts, "rollouts", recorded)  # it claims to be certain of every word
    with pytest.raises(StageError, match=r"grpo.agree = 0.1: .* off by \d"):
        grpo.run(params(), inputs, tmp_path)


def test_vllm_is_asked_for_by_name_where_it_is_not_there(inputs, params, tmp_path):
    with pytest.raises(StageError, match="grpo.sampler = 'vllm': vLLM is not installed"):
        grpo.run(params(grpo={"sampler": "vllm"}), inputs, tmp_path)


def test_rows_are_dealt_out_in_whole_passes():
    from steps.posttrain.settings import batches

    for processes in (1, 2, 4):
        found = batches(32, 8, processes)
        size, times = found["per_device_train_batch_size"], found["gradient_accumulation_steps"]
        assert size * times * processes == 32 and size <= 8
    assert np.prod(list(batches(4, 8, 2).values())) == 2
