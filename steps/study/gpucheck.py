"""Does training work on the GPU at hand? Five minutes with the bundled base, by the stages' code.

Each check trains a few steps of the smoke study's questions in two ways that ought to come to the
same, or nearly: products in float32 and in bfloat16, activations kept and computed again, weights
in one piece and in shares on all GPUs, answers sampled by the trainer's model and by vLLM. What a
check needs and the machine has not is said, and is no failure.
"""

import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from steps.params import Run
from steps.schema import Params
from steps.stage import StageError

NEAR = {"float32": 2e-3, "bfloat16": 0.1}
"""How far apart two ways may be, as a share: other kernels add up in other orders."""
DRAWN = 0.5
"""The same for what answers are sampled for: rounded otherwise, a draw can fall the other way."""
RATE = 1e-4


class Line(NamedTuple):
    """One check: what was compared, what came out, whether that is right (None: not run)."""

    what: str
    found: str
    right: bool | None


class Trained(NamedTuple):
    """Some steps of a method: its last loss, its first gradient's norm (DPO's and GRPO's first
    losses are the same whatever the weights), seconds in all, GPU memory in GiB (or nan).
    """

    loss: float
    gradient: float
    seconds: float
    memory: float


def checks(params: Params, folder: Path, processes: int) -> Iterator[Line]:
    """Every check, one after another. processes: GPUs to share weights among; 0 without any."""
    inputs = questions(params, folder)

    def train(method: str, **changed: Any) -> Trained:
        return trained(params, inputs, folder, method, changed)

    whole = {}
    for method in ("sft", "dpo", "grpo"):
        whole[method] = train(method)
        yield Line(f"{method} in float32", _told(whole[method]), True)
        half = train(method, precision="bfloat16")
        near = DRAWN if method == "grpo" else NEAR["bfloat16"]
        yield _compared(f"{method} in bfloat16", whole[method], half, near)
    again = train("sft", recompute=True)
    yield _compared("sft, activations again", whole["sft"], again, NEAR["float32"])
    lora = train("sft", lora=params.train.lora.model_copy(update={"rank": 4}))
    yield Line("sft with adapters", _told(lora), True)
    if processes:
        for method in ("sft", "dpo"):
            shared = train(method, processes=processes, shard=True)
            name = f"{method}, weights shared by {processes}"
            yield _compared(name, whole[method], shared, NEAR["float32"])
    else:
        yield Line("weights in shares (FSDP)", "not run: no GPU", None)
    if find_spec("vllm") is None:
        yield Line("answers by vLLM", "not run: vLLM is not installed", None)
    else:
        yield _sampled(train)


def _sampled(train: Callable[..., Trained]) -> Line:
    try:
        told = _told(train("grpo", sampler="vllm"))
    except StageError as error:
        return Line("answers by vLLM", str(error), False)
    return Line("answers by vLLM", f"log-probabilities agree; {told}", True)


def _compared(what: str, one: Trained, other: Trained, near: float) -> Line:
    off = abs(other.loss - one.loss) / max(abs(one.loss), 0.05)  # GRPO's loss is about 0
    turned = abs(other.gradient - one.gradient) / one.gradient
    found = f"loss off by {100 * off:.2g} %, gradient by {100 * turned:.2g} %; {_told(other)}"
    return Line(what, found, max(off, turned) <= near)


def _told(done: Trained) -> str:
    memory = f", {done.memory:.2f} GiB" if done.memory == done.memory else ""
    return f"loss {done.loss:.4f}, {done.seconds:.1f} s{memory}"


def questions(params: Params, folder: Path) -> dict[str, Path]:
    """The smoke study's questions and pairs, made here by their own stages."""
    from steps.data import items
    from steps.posttrain import pairs

    inputs = {"base": Path("models/bundled")}
    for name, stage in (("items", items), ("pairs", pairs)):
        (folder / name).mkdir()
        stage.run(_view(params, name), inputs, folder / name)
        inputs[name] = folder / name
    return inputs


def _view(params: Any, stage: str) -> Any:
    view = SimpleNamespace(**{name: getattr(params, name) for name in type(params).model_fields})
    view.run = Run("gpu_check", stage, "bundled", stage, params.seeds[0])
    return view


def trained(
    params: Params, inputs: dict[str, Path], folder: Path, method: str, changed: dict[str, Any]
) -> Trained:
    """One run of a method's stage; changed: keys of `train`, or of `grpo`, with other values."""
    from importlib import import_module

    import torch

    told: dict[str, Any] = {"learning_rate": RATE}
    told |= {"measure_every": 0} if method == "grpo" else {}
    common = {k: v for k, v in changed.items() if k in type(params.train).model_fields}
    told |= {k: v for k, v in changed.items() if k not in common}
    view = _view(params, method)
    view.train = params.train.model_copy(update=common)
    setattr(view, method, getattr(params, method).model_copy(update=told))
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        began = time.perf_counter()
        metrics = import_module(f"steps.posttrain.{method}").run(view, inputs, Path(out))
        seconds = time.perf_counter() - began
    alone = gpu and view.train.processes == 1 and not view.train.shard
    memory = torch.cuda.max_memory_allocated() / 2**30 if alone else float("nan")
    loss, gradient = metrics["train/last/loss"], metrics["train/first/grad_norm"]
    return Trained(loss, gradient, seconds, memory)


def machine() -> dict[str, str]:
    """The GPU's name, and the versions of what drives it. Raises StageError without a GPU."""
    import accelerate
    import torch
    import transformers
    import trl

    if not torch.cuda.is_available():
        raise StageError("no GPU that this torch can use: there is nothing to check")
    one = torch.cuda.get_device_properties(0)
    return {
        "gpu": f"{torch.cuda.device_count()} x {one.name}, {one.total_memory / 2**30:.0f} GiB",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        **{m.__name__: m.__version__ for m in (transformers, trl, accelerate)},
    }


def run(params: Params, out: Path) -> bool:
    """Check this machine's GPUs; prints a table and writes it to `out`. Whether all was right."""
    import torch

    told = machine()
    print("\n".join(f"{name}: {value}" for name, value in told.items()))
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for line in checks(params, Path(folder), torch.cuda.device_count()):
            mark = {True: "right", False: "WRONG", None: "-"}[line.right]
            print(f"{mark:>6}  {line.what:<32}{line.found}", flush=True)
            lines.append(line._asdict())
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**told, "checks": lines}, indent=1) + "\n")
    return all(line["right"] is not False for line in lines)
