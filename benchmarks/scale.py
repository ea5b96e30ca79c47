"""Training at the size of published models: as much memory and time as `make plan` says?

python benchmarks/scale.py [--gpu h100] [--tower siglip2-so400m-patch16-384]
    [--language qwen2.5-1.5b-instruct] [--methods sft dpo grpo] [--steps 6] [--micro 8] [--rank 0]

A tower and a language model of public shapes (`known.yaml` of steps/study/costs), their weights
drawn at random, are joined and post-trained by the stages' own code: a few steps of 16 of the smoke
study's questions (GRPO: 8 answers to each of 4), products in bfloat16, activations computed again.
A step's time is the median of all but the first. Beside each figure stands the plan's: the
GPU memory at the largest moment, and seconds a step. Nothing is learnt and nothing is fetched.
Without a GPU it says so and exits with 0.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from timing import tell

TURNS = "{{ '<|im_start|>' }}"
"""By this the join knows a chat template of ChatML, and gives it one that takes images."""


def base(folder: Path, tower: str, language: str, layers: int | None) -> Path:
    """A base of two public shapes in a folder, joined as a study joins them. layers: of each."""
    from transformers import AutoTokenizer, Qwen2ForCausalLM, SiglipVisionModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    from steps.models import join
    from steps.study.costs import known

    eye, text = known.config(tower), known.config(language)
    words = AutoTokenizer.from_pretrained("models/bundled/instruct", local_files_only=True)
    words.chat_template = TURNS
    words.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    text.pad_token_id, text.eos_token_id = words.pad_token_id, words.eos_token_id
    if layers:
        eye.num_hidden_layers = text.num_hidden_layers = layers
        text.layer_types = text.layer_types[:layers]
    for name, kind, config in (("eye", SiglipVisionModel, eye), ("text", Qwen2ForCausalLM, text)):
        drawn(kind, config).save_pretrained(folder / name)
    side = {"height": eye.image_size, "width": eye.image_size}
    SiglipImageProcessorPil(size=side).save_pretrained(folder / "eye")
    words.save_pretrained(folder / "text")
    model, processor = join.joined(folder / "eye", folder / "text", 0)
    shutil.rmtree(folder / "text")  # its weights are in memory: room for what is written next
    model.save_pretrained(folder / "base" / "instruct", max_shard_size="1TB")
    processor.save_pretrained(folder / "base" / "instruct")
    return folder / "base"


def drawn(kind: Any, config: Any) -> Any:
    """A model with weights by chance, drawn on the GPU where there is one."""
    import torch

    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return kind(config).to("cpu")


@contextmanager
def ticks() -> Iterator[list[float]]:
    """The times at which optimiser steps ended, of whatever is trained meanwhile."""
    import torch

    from steps.posttrain.loop import Watch

    kept, found = Watch.on_step_end, []

    def ended(self: Any, *given: Any, **named: Any) -> Any:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        found.append(time.perf_counter())
        return kept(self, *given, **named)

    Watch.on_step_end = ended
    try:
        yield found
    finally:
        Watch.on_step_end = kept


def planned(params: Any, path: Path, method: str, gpu: str, steps: int, said: int) -> dict:
    """What the plan says: GiB, seconds and FLOPs a step. said: tokens of an answer, 0 as drawn."""
    from steps.models import load
    from steps.study.costs import machine, memory, shapes, talk, training, work

    shape = shapes.of(load.settings(path / "instruct"), "drawn", path / "instruct")
    spoken = talk.talk(params, shape)
    if said:
        spoken = talk.Talk(spoken.asked, said, said, spoken.told, "as many as are allowed")
    told = getattr(params, method)
    case = work.Case(params, shape, spoken, method, told)
    one, low = machine.gpu(gpu), params.train.precision == "bfloat16"
    costs = []
    for times in (1, 2):
        count = times * steps
        passes = {"epochs": count * params.train.batch / case.kept}  # as the plan counts them
        own = told.model_copy(update={"steps": count} if method == "grpo" else passes)
        job = training.COSTS[method](replace(case, told=own))
        costs.append((one.seconds(job, machine.Speed(), machine.MFU, low), job.counted))
    held = memory.held(method, case)
    (first, counted), (second, more) = costs
    return {
        "gib": sum(held.values()) / 2**30,
        "step_s": (second - first) / steps,
        "flops": (more - counted) / steps,
        "largest": max(held, key=lambda kind: held[kind]),
    }


def main() -> None:
    """Train each method for some steps and set its figures beside the plan's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", default="h100", help="of gpus.yaml: what the plan is made for")
    parser.add_argument("--tower", default="siglip2-so400m-patch16-384")
    parser.add_argument("--language", default="qwen2.5-1.5b-instruct")
    parser.add_argument("--layers", type=int, help="of each part, for a small machine")
    parser.add_argument("--methods", nargs="+", default=["sft", "dpo", "grpo"])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--micro", type=int, default=8)
    parser.add_argument("--rank", type=int, default=0, help="of adapters; 0: all weights")
    parser.add_argument("--answer", type=int, default=64, help="tokens of each answer GRPO samples")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error("--steps: give 2 or more, since the first is not timed")
    os.environ["SIGHTLINE_MIRROR"] = "off"
    import torch

    from steps.study import gpucheck
    from steps.study.costs import machine
    from steps.study.plan import plan

    on = torch.cuda.is_available()
    if not on and not options.layers:
        print("no GPU: nothing was measured (--layers 1 runs it on a processor)")
        return tell(gpu=None)
    params = plan("smoke").params
    lora = params.train.lora.model_copy(update={"rank": options.rank})
    alike = {"batch": 16, "micro_batch": options.micro, "precision": "bfloat16",
             "recompute": True, "lora": lora, "log_every": 1, "checkpoint_every": 1000}  # fmt: skip
    params = params.model_copy(update={"train": params.train.model_copy(update=alike)})
    found: dict[str, Any] = {"gpu": torch.cuda.get_device_name(0) if on else None}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = gpucheck.questions(params, folder)
        inputs["base"] = base(folder, options.tower, options.language, options.layers)
        for method in options.methods:
            params = lengthened(params, method, options.steps, inputs, options.answer)
            said = options.answer if method == "grpo" else 0
            with ticks() as ended:
                done = gpucheck.trained(params, inputs, folder, method, {})
            each = [after - before for before, after in pairwise(ended)]
            step = statistics.median(each)
            told = planned(params, inputs["base"], method, options.gpu, len(ended), said)
            mfu = told["flops"] / step / (machine.gpu(options.gpu).bf16 * 1e12)
            print(
                f"{method}: {done.memory:.1f} GiB (planned {told['gib']:.1f}, most of it "
                f"{told['largest']}), {step:.2f} s a step (planned {told['step_s']:.2f}; one by "
                f"one {', '.join(f'{one:.2f}' for one in each)}), {100 * mfu:.0f} % of the peak, "
                f"{done.seconds:.0f} s in all",
                flush=True,
            )
            found[method] = {"gib": done.memory, "step_s": step, "mfu": mfu, "planned": told}
            tell(**found)  # after each: what is cut off later has told this


def lengthened(params: Any, method: str, steps: int, inputs: Any, answer: int) -> Any:
    """Params with as many optimiser steps of a method. answer: tokens of each that GRPO samples."""
    from steps.posttrain import questions

    if method == "grpo":
        told = {"steps": steps, "prompts": 4, "generations": 8, "max_tokens": answer,
                "micro_batch": 8, "measure_every": 0}  # fmt: skip
    else:
        count = len(questions.kept(inputs["pairs"]))
        told = {"epochs": steps * params.train.batch / count}
    own = getattr(params, method).model_copy(update=told)
    return params.model_copy(update={method: own})


if __name__ == "__main__":
    main()
