"""Equal terms: what all methods share is the same, and none of it is left to a default."""

import ast
import inspect
from dataclasses import fields

import pytest
from transformers import TrainingArguments
from trl import DPOConfig, GRPOConfig, SFTConfig

from steps.posttrain import dpo, grpo, settings, sft

CONFIGS = {"sft": SFTConfig, "dpo": DPOConfig, "grpo": GRPOConfig}
MODULES = {"sft": sft, "dpo": dpo, "grpo": grpo}
# Fields of TRL's own that we leave alone, because they decide nothing in these trainings:
PREPARED = {  # how text becomes tokens: our prompts are chats, and max_length is None
    *("chat_template_path", "dataset_text_field", "dataset_kwargs", "eos_token", "pad_token"),
    *("truncation_mode", "dataset_num_proc", "chat_template_kwargs"),
}
OTHER_LOSSES = {  # constants of losses and of additions that are off
    *("f_alpha_divergence_coef", "discopop_tau", "ref_model_mixup_alpha", "ref_model_sync_steps"),
    *("sapo_temperature_neg", "sapo_temperature_pos"),
    *(f"vespo_{k}_{sign}" for k in ("k", "lambda") for sign in ("pos", "neg")),
    *("entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target"),
}
OFF = {  # None or False turns each off, and a test below holds TRL to that
    *("use_adaptive_entropy", "cast_lm_head_to_fp32", "delta", "off_policy_mask_threshold"),
    *(
        "generation_kwargs",
        "cache_implementation",
        "use_transformers_paged",
        "use_transformers_continuous_batching",
    ),
    *("transformers_continuous_batching_config", "max_tool_calling_iterations"),
    *("num_completions_to_print", "log_unique_prompts", "log_completions_hub_repo"),
    *("generation_batch_size", "precompute_ref_batch_size", "eval_packing", "shuffle_dataset"),
    "num_generations_eval",  # no evaluation
}
IDLE = {  # of evaluation, packing, DeepSpeed and logged completions, none of which there is
    *("packing_strategy", "ds3_gather_for_generation", "log_multimodal"),
}


@pytest.fixture
def given(params):
    told = params()
    return lambda folder: settings.shared(told.train, told.run, folder, 100, 1e-3)


def test_terms_are_the_agreed_ones(given, tmp_path):
    found = given(tmp_path)
    agreed = {
        "optim": "adamw_torch_fused",
        "weight_decay": 0.0,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 3,
        "max_grad_norm": 1.0,
        "bf16": False,
        "fp16": False,
        "train_sampling_strategy": "sequential",
        "logging_nan_inf_filter": False,
        "report_to": "none",
    }
    assert {k: found[k] for k in agreed} == agreed


def test_no_default_that_trl_changed_is_left_to_speak(given, tmp_path):
    """Where TRL's default differs from transformers', or the methods' differ, we say what holds."""
    plain = {f.name: f.default for f in fields(TrainingArguments)}
    theirs = {m: {f.name: f.default for f in fields(c)} for m, c in CONFIGS.items()}
    told = set(given(tmp_path)) | {"learning_rate", "gradient_checkpointing"}
    changed = {
        name
        for defaults in theirs.values()
        for name, value in defaults.items()
        if name in plain and value != plain[name]
    }
    assert {"bf16", "logging_steps", "learning_rate"} <= changed
    assert changed - told == set()
    common = set.intersection(*(set(defaults) for defaults in theirs.values())) - set(plain)
    unspoken = common - told - {"disable_dropout", "loss_type"}
    assert unspoken == set()


def spoken(method):
    """The arguments that a method's module names where it makes its config."""
    tree = ast.parse(inspect.getsource(MODULES[method]))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (made,) = (c for c in calls if getattr(c.func, "id", "") == CONFIGS[method].__name__)
    return {word.arg for word in made.keywords if word.arg}


@pytest.mark.parametrize("method", CONFIGS)
def test_every_field_of_trls_own_is_given_or_left_alone_by_name(method, given, tmp_path):
    plain = {f.name for f in fields(TrainingArguments)}
    own = {f.name: f.default for f in fields(CONFIGS[method]) if f.name not in plain}
    told = spoken(method) | set(given(tmp_path)) | set(settings.batches(4, 4))
    left = {name for name in own if name not in told and not name.startswith("vllm_")}
    assert left - (PREPARED | OTHER_LOSSES | OFF | IDLE) == set()
    assert {n: own[n] for n in left & OFF if own[n] not in (None, False)} == {}
    if any(name.startswith("vllm_") for name in own):
        assert "use_vllm" in told  # it turns all of vllm's off


def test_no_field_that_is_left_alone_is_unknown_to_trl():
    known = {f.name for config in CONFIGS.values() for f in fields(config)}
    assert PREPARED | OTHER_LOSSES | OFF | IDLE <= known


@pytest.mark.parametrize(
    "rows, micro, size", [(32, 32, 32), (128, 32, 32), (16, 32, 16), (6, 4, 3)]
)
def test_batches_divide_evenly(rows, micro, size):
    found = settings.batches(rows, micro)
    assert found["per_device_train_batch_size"] == size
    assert size * found["gradient_accumulation_steps"] == rows


def test_what_is_written_names_no_place(given, tmp_path):
    args = SFTConfig(**given(tmp_path / "somewhere"), **settings.batches(4, 4))
    settings.write(args, tmp_path)
    text = (tmp_path / "training_args.json").read_text()
    assert str(tmp_path) not in text and "somewhere" not in text
    again = SFTConfig(**given(tmp_path / "elsewhere"), **settings.batches(4, 4))
    assert settings.resolved(again) == settings.resolved(args)
