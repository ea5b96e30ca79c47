"""The check of a machine's GPUs: its parts run on a CPU, at the smoke study's size."""

import pytest

from steps.stage import StageError
from steps.study import gpucheck
from steps.study.plan import plan


@pytest.mark.slow
def test_every_check_that_a_cpu_can_run_is_right(tmp_path):
    lines = list(gpucheck.checks(plan("smoke").params, tmp_path, 0))
    assert [line.what for line in lines if line.right is False] == []
    ran = {line.what for line in lines if line.right}
    assert {f"{m} in {p}" for m in ("sft", "dpo", "grpo") for p in ("float32", "bfloat16")} <= ran
    assert {"sft, activations again", "sft with adapters"} <= ran
    assert [line.found for line in lines if line.right is None][0] == "not run: no GPU"


def test_losses_that_are_apart_are_wrong():
    one, far = gpucheck.Trained(2.0, 1.0, 1.0, 0.5), gpucheck.Trained(2.5, 1.0, 1.0, 0.5)
    line = gpucheck._compared("sft", one, far, 0.1)
    assert line.right is False and line.found.startswith("loss off by 25 %")
    assert gpucheck._compared("sft", one, one, 0.0).right
    turned = one._replace(gradient=1.2)  # as where the first loss is the same whatever the weights
    line = gpucheck._compared("dpo", one, turned, 0.1)
    assert line.right is False and "gradient by 20 %" in line.found


def test_a_machine_without_a_gpu_has_nothing_to_check(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StageError, match="no GPU that this torch can use"):
        gpucheck.machine()
