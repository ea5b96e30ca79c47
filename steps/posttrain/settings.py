"""The terms on which all arms train, spelt out: no default of TRL is left to speak for itself.

`shared` gives the arguments that every method gets alike; a method adds its own beside them. What
comes out, resolved, is written beside the model, and the report shows where two arms differ.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from steps.params import Run

SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
PLACES = ("output_dir", "logging_dir", "disable_tqdm", "use_cpu", "dataloader_pin_memory")
"""Arguments that say where a run happens, not what it does; they are not written down."""


def shared(train: Any, run: Run, folder: Path, steps: int, learning_rate: float) -> dict[str, Any]:
    """Arguments for any TRL trainer from the section `train`.

    folder: where checkpoints are written before they are put in place. steps: optimiser steps.
    Batch sizes are the method's own (`batches`): what a batch counts differs between them.
    """
    from steps.models.load import device

    gpu, together = device() == "cuda", train.processes > 1
    return {
        "output_dir": str(folder),
        "learning_rate": learning_rate,
        "max_steps": steps,
        "num_train_epochs": 1.0,
        # The optimiser and its schedule.
        "optim": "adamw_torch_fused",
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.clip,
        "lr_scheduler_type": SCHEDULES[train.schedule],
        "warmup_steps": round(train.warmup * steps),
        # Weights and their updates in float32, whatever the products are in; nothing random but
        # the sampling of answers.
        "bf16": train.precision == "bfloat16",
        "fp16": False,
        "tf32": False if gpu else None,
        "activation_checkpointing": train.recompute and not train.shard,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "torch_compile": False,
        "use_liger_kernel": False,
        "neftune_noise_alpha": None,
        "label_smoothing_factor": 0.0,
        "full_determinism": False,
        "seed": run.seed or 0,
        "data_seed": run.seed or 0,
        "use_cpu": not gpu,
        # Several processes: each a share of every batch, with all weights or a share of them.
        "ddp_backend": "gloo" if together and not gpu else None,
        "ddp_find_unused_parameters": together and not train.shard,
        "fsdp": train.shard,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "state_dict_type": "SHARDED_STATE_DICT",
            "activation_checkpointing": train.recompute,
        }
        if train.shard
        else None,
        # Items come in the order in which they stand, with all their columns.
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "dataloader_num_workers": 0,
        "dataloader_drop_last": False,
        "dataloader_pin_memory": gpu,
        "average_tokens_across_devices": True,
        # Logs and checkpoints. A loss that is not finite must be seen, not averaged away.
        "logging_strategy": "steps",
        "logging_steps": train.log_every,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": not sys.stderr.isatty(),
        "eval_strategy": "no",
        "save_strategy": "steps" if run.checkpoints else "no",
        "save_steps": train.checkpoint_every,
        "save_total_limit": None,
        "save_only_model": False,
        "push_to_hub": False,
        "model_init_kwargs": None,
        "trust_remote_code": False,
        "router_aux_loss_coef": 0.0,
        "pad_to_multiple_of": None,
        "include_num_input_tokens_seen": "no",
    }


def batches(rows: int, micro: int, processes: int = 1) -> dict[str, int]:
    """Batch arguments for `rows` rows in an optimiser step, at most `micro` in one pass.

    processes: among which the rows are dealt out; a divisor of their number.
    """
    rows //= processes
    size = max(n for n in range(1, min(rows, micro) + 1) if rows % n == 0)
    return {"per_device_train_batch_size": size, "gradient_accumulation_steps": rows // size}


def resolved(args: Any) -> dict[str, Any]:
    """What a trainer's arguments came to, as plain values, without places and secrets."""
    plain = json.loads(json.dumps(args.to_dict(), default=str))
    keep = {k: v for k, v in plain.items() if k not in PLACES and not k.endswith("_token")}
    return {k: "inf" if v == math.inf else v for k, v in sorted(keep.items())}


def write(args: Any, out: Path) -> None:
    """Write the resolved arguments to `out/training_args.json`, in an order that never changes."""
    (out / "training_args.json").write_text(json.dumps(resolved(args), indent=1) + "\n")
