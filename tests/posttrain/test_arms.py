"""What holds for every arm that trains: same items, same terms, all parts move, nothing else."""

import json

import numpy as np
import pandas as pd
import pytest

from steps.models import families
from steps.posttrain import dpo, grpo, history, loop, questions, sft
from steps.stage import StageError

METHODS = {"sft": sft, "dpo": dpo, "grpo": grpo}
DIFFER = {"learning_rate", "max_steps", "per_device_train_batch_size", "beta", "loss_type"}
DIFFER |= {"gradient_accumulation_steps"}
"""Arguments that methods share a name for but set in their own way."""


@pytest.fixture
def made(inputs, tmp_path, monkeypatch):
    """A function: the TRL trainer that a method's stage makes, before it trains."""

    class Made(Exception):
        pass

    def stop(trainer, *_, **__):
        raise Made(trainer)

    monkeypatch.setattr(loop, "fit", stop)

    def make(method, told):
        with pytest.raises(Made) as caught:
            METHODS[method].run(told, inputs, tmp_path)
        return caught.value.args[0]

    return make


def seen(method, trainer):
    """The images' numbers in the order in which the trainer's own loader gives them."""
    if method == "grpo":  # a step's questions, each repeated for its group, once for each pass
        steps = list(trainer.get_train_dataloader())[:: trainer.args.steps_per_generation]
        rows = [int(np.asarray(r["image"])[0, 0, 0]) for step in steps for r in step]
        return rows[:: trainer.num_generations]
    found = []
    for batch in trainer.get_train_dataloader():
        pixels = batch["pixel_values"][:4]  # DPO repeats the images for the rejected answers
        found += [round(float(p[0, 0, 0] * 0.5 + 0.5) * 255) for p in pixels]
    return found


def parameters(trainer):
    return zip(trainer.model.parameters(), trainer.ref_model.parameters(), strict=True)


def test_all_arms_see_the_same_items_in_the_same_order(made, params, pairs):
    table = questions.kept(pairs)
    expected = table["image"].to_numpy()[questions.order(len(table), 20, 0)].tolist()
    assert sorted(expected) == sorted(table["image"])  # one pass, without the dropped ones
    assert seen("sft", made("sft", params())) == expected
    assert seen("dpo", made("dpo", params())) == expected
    assert seen("grpo", made("grpo", params())) == expected[:10]  # 5 steps of 2 questions
    other = seen("sft", made("sft", params(seed=1)))
    assert sorted(other) == sorted(expected) and other != expected


def test_continue_trains_as_long_on_as_many_items_of_stage_1(made, params, items):
    asked = pd.read_parquet(items / "stage1.parquet")["image"].to_numpy()
    mine = made("sft", params(sft={"items": "stage1"}))
    assert seen("sft", mine) == asked[questions.order(20, 20, 0)].tolist()
    assert mine.args.max_steps == made("sft", params()).args.max_steps


def test_sft_learns_responses_and_their_end_alone(made, params, pairs):
    trainer = made("sft", params())
    table = questions.kept(pairs).iloc[questions.order(20, 20, 0)]
    words = trainer.processing_class.tokenizer
    batch = next(iter(trainer.get_train_dataloader()))
    assert (batch["input_ids"] == trainer.model.config.image_token_id).sum() == 4 * 4
    for labels, response in zip(batch["labels"], table["response"], strict=False):
        assert words.decode(labels[labels != -100]) == f"{response} {words.eos_token}"


def test_dpo_compares_the_pair_and_its_ends(made, params, pairs):
    trainer = made("dpo", params())
    table = questions.kept(pairs).iloc[questions.order(20, 20, 0)].iloc[:4]
    words = trainer.processing_class.tokenizer
    batch = next(iter(trainer.get_train_dataloader()))
    said = [
        words.decode(r[m == 1])
        for r, m in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    ]
    expected = [*table["chosen"], *table["rejected"]]
    assert said == [f"{text} {words.eos_token}" for text in expected]
    assert trainer.ref_model is None
    still = {n for n, p in trainer.model.named_parameters() if not p.requires_grad}
    assert {n.rpartition("vision_tower.")[2] for n in still} == families.unread(trainer.model)


def test_terms_are_equal(trained):
    args = {
        m: json.loads((out / "training_args.json").read_text()) for m, (out, _) in trained.items()
    }
    common = set.intersection(*(set(a) for a in args.values()))
    assert {"optim", "weight_decay", "warmup_steps", "lr_scheduler_type", "bf16", "seed"} <= common
    unequal = {k for k in common if len({json.dumps(a[k]) for a in args.values()}) > 1}
    assert unequal <= DIFFER


@pytest.mark.parametrize("method", METHODS)
def test_every_part_moves(method, trained, base, weights):
    new, old = weights(trained[method][0]), weights(base / "instruct")
    assert set(new) == set(old)
    still = {name for name in old if np.array_equal(new[name], old[name])}
    # The projector reads the tower before its last norm, which therefore never gets a gradient.
    assert {n for n in still if "post_layernorm" not in n} == set()
    assert all(np.isfinite(w).all() and w.dtype == np.float32 for w in new.values())


@pytest.mark.parametrize("method", METHODS)
def test_nothing_but_the_weights_differs_from_the_base(method, trained, base):
    out = trained[method][0]
    names = {p.name for p in (base / "instruct").iterdir()}
    own = {"training_args.json", "curves.json"} | ({"credit.html"} if method == "grpo" else set())
    assert {p.name for p in out.iterdir()} == names | own
    for name in names - {"model.safetensors"}:
        assert (out / name).read_bytes() == (base / "instruct" / name).read_bytes()
    assert not [p for p in out.iterdir() if str(base).encode() in p.read_bytes()]


@pytest.mark.parametrize("method", METHODS)
def test_metrics_tell_dose_and_budget(method, trained):
    metrics = trained[method][1]
    assert all(np.isfinite(v) for v in metrics.values())
    assert metrics["dose/kl"] > 0
    assert all(metrics[f"dose/{part}"] > 0 for part in ("tower", "projector", "language"))
    assert metrics["budget/steps"] == 5 and metrics["budget/flops"] > 0
    assert (metrics["budget/rollout_tokens"] > 0) == (method == "grpo")
    assert (metrics["budget/reference_tokens"] > 0) == (method == "dpo")
    assert metrics["budget/images"] == {"sft": 20, "dpo": 40, "grpo": 20}[method]
    assert not [name for name in metrics if "time" in name or "second" in name]


def test_a_pair_and_its_reference_read_their_image_once(inputs, params, tmp_path, monkeypatch):
    """Counted at the tower itself, for the policy and the reference of each batch."""
    from transformers import SiglipVisionModel

    read, forward = [], SiglipVisionModel.forward

    def counted(self, pixel_values, **options):
        read.append(len(pixel_values))
        return forward(self, pixel_values, **options)

    monkeypatch.setattr(SiglipVisionModel, "forward", counted)
    monkeypatch.setattr(dpo.save, "finish", lambda *_: {})
    dpo.run(params(), inputs, tmp_path)
    assert read == [4] * 10


def test_dpo_after_sft_is_sft_and_then_dpo(inputs, params, trained, weights, tmp_path):
    """The first part is the arm sft itself; DPO then starts, and is held, where that ended."""
    still = params(dpo={"sft_epochs": 1.0, "learning_rate": 1e-12})
    metrics = dpo.run(still, inputs, tmp_path)
    sft_only = weights(trained["sft"][0])
    for name, found in weights(tmp_path).items():
        np.testing.assert_allclose(found, sft_only[name], atol=1e-7)
    assert metrics["budget/steps"] == 10
    sft_read, dpo_read = (trained[m][1]["budget/tokens"] for m in ("sft", "dpo"))
    assert metrics["budget/tokens"] == sft_read + dpo_read
    assert metrics["budget/reference_tokens"] == dpo_read
    assert metrics["train/first/rewards/margins"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_curves_have_every_step_and_end_as_the_metrics_say(method, trained):
    out, metrics = trained[method]
    curves = json.loads((out / "curves.json").read_text())
    own = {"sft": "mean_token_accuracy", "dpo": "rewards/margins", "grpo": "reward"}[method]
    assert {"loss", "grad_norm", own} <= set(curves) <= set(history.CURVES)
    for name, points in curves.items():
        assert [step for step, _ in points] == [1, 2, 3, 4, 5]
        assert points[0][1] == metrics[f"train/first/{name}"]
        assert points[-1][1] == metrics[f"train/last/{name}"]


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_loss_that_is_not_finite_stops_the_run(method, base, inputs, params, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "base"
    (broken / "instruct").mkdir(parents=True)
    for path in (base / "instruct").iterdir():
        (broken / "instruct" / path.name).write_bytes(path.read_bytes())
    file = broken / "instruct" / "model.safetensors"
    tensors = load_file(file)
    name = next(n for n in tensors if "multi_modal_projector" in n)
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})
    said = rf"the gradient is nan at step 1: lower {method}\.learning_rate"
    with pytest.raises(StageError, match=said):
        METHODS[method].run(params(), inputs | {"base": broken}, tmp_path)


def test_grpo_is_held_to_the_base(made, params):
    trainer = made("grpo", params(grpo={"beta": 0.1}))
    for mine, theirs in parameters(trainer):
        assert (mine == theirs).all() and mine is not theirs
