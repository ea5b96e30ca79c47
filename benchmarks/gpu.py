"""What a GPU changes: do float32 and bfloat16 there say what the CPU says, and what does one gain?

python benchmarks/gpu.py [--study smoke] [--items 200] [--length 2048]

Needs a finished study and one CUDA device. Four parts: answers and margins of the base on CPU and
GPU; how far attention read on the GPU (`steps.models.connectivity`) lies from eager attention; a
decoder's step with and without that reading, at the shapes of a 7B model in bfloat16; and seconds
a step of GRPO. Without a GPU it says so and exits with 0: nothing was checked.
"""

import argparse
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from timing import tell

LAYERS_7B = 28
SHAPES_7B: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 512,
}
"""Qwen2.5-7B's decoder, cut to two layers and a small vocabulary."""


Around = Callable[[], AbstractContextManager[Any]]


def places(study: str) -> tuple[Path, Path]:
    """Folders of a finished study: its first base's model, and its first seed's questions."""
    from steps.study.plan import plan

    found = plan(study or None)
    base, seed = next(iter(found.params.bases)), found.params.seeds[0]
    results = Path(found.results)
    return results / "base" / base / "instruct", results / "items" / f"seed{seed}"


def answers(folder: Path, items: Path, count: int) -> dict[str, dict[str, float]]:
    """The base on the CPU, on the GPU and on the GPU in bfloat16, on the same questions.

    For each: lenient accuracy; against the CPU, the share of answers that are letter for letter
    the same, and the mean and largest difference between margins (log-odds of the true answer).
    """
    import numpy as np
    import torch

    from steps.behaviour import vqa
    from steps.models import load

    table, pictures = vqa.questions(items, "vqa")
    table, pictures = table.iloc[:count], pictures[:count]
    processor = load.processor(folder)
    said: dict[str, tuple[list[str], Any]] = {}
    found: dict[str, dict[str, float]] = {}
    kinds = (("cpu", "cpu", torch.float32), ("gpu", "cuda", torch.float32),
             ("gpu_bf16", "cuda", torch.bfloat16))  # fmt: skip
    for name, place, dtype in kinds:
        model = load.vlm(folder).to(place, dtype)
        said[name] = vqa.ask(model, processor, table, pictures, 64, 32, margin=True)
        texts, margins = said[name]
        scored = vqa.score(table, texts)
        same = np.mean([one == other for one, other in zip(texts, said["cpu"][0], strict=True)])
        off = np.abs(margins - said["cpu"][1])
        found[name] = {
            "lenient": float(scored["lenient"].mean()),
            "same_answers": float(same),
            "margin_off_mean": float(off.mean()),
            "margin_off_max": float(off.max()),
        }
        print(
            f"{name:<9} lenient {100 * found[name]['lenient']:5.1f} %, answers as on the CPU "
            f"{100 * same:5.1f} %, margin off by {off.mean():.2e} on average, {off.max():.2e} at "
            "most"
        )
    return found


def decoder(attention: str = "sdpa") -> Any:
    """A decoder of SHAPES_7B in bfloat16 on the GPU, its weights drawn at random."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(**SHAPES_7B)
    with torch.device("cuda"):
        model = Qwen2ForCausalLM._from_config(
            config, dtype=torch.bfloat16, attn_implementation=attention
        )
    model.config.image_token_id = 5
    return model


def rows(length: int, batch: int) -> Any:
    """Token ids [batch, length]: a quarter of each is the image, half of it the answer."""
    import torch

    ids = torch.randint(6, 500, (batch, length), device="cuda")
    ids[:, 4 : 4 + length // 4] = 5
    return ids


def reading_is_eager(length: int) -> float:
    """Largest difference between attention read as it passes and eager attention, at 7B shapes."""
    import torch

    from steps.models.connectivity import watched

    ids = rows(length, 1)
    mask, answer = torch.ones_like(ids), length // 2
    model = decoder("eager")
    with torch.no_grad():
        paid = model(ids, output_attentions=True).attentions[0]
    told = paid[:, :, -answer - 1 : -1].float().mean(1) @ (ids == 5).float()[0][:, None]
    del model, paid
    model = decoder()
    with torch.no_grad(), watched(model, ids, mask, answer, [0]) as watch:
        model(ids)
    return float((watch.connectivity().mass - told[..., 0]).abs().max())


def reading_costs(length: int, batch: int, rounds: int) -> dict[str, float]:
    """Seconds and memory of forward and backward of two layers, with one layer read and without.

    share: what the reading adds, over the step of a model of LAYERS_7B such layers.
    """
    import torch

    from steps.models.connectivity import watched

    model, ids = decoder(), rows(length, batch)
    mask, answer = torch.ones_like(ids), length // 2

    @contextmanager
    def read() -> Iterator[Any]:
        with watched(model, ids, mask, answer, [0]) as watch:
            yield watch
            watch.connectivity()

    def step(around: Around) -> tuple[float, float]:
        torch.cuda.reset_peak_memory_stats()
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        with around():
            model(ids, logits_to_keep=answer).logits.float().square().mean().backward()
        ended.record()
        torch.cuda.synchronize()
        model.zero_grad(set_to_none=True)
        return began.elapsed_time(ended) / 1000, torch.cuda.max_memory_allocated() / 2**20

    ways: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "plain": nullcontext,
        "read": read,
    }
    walls: dict[str, list[float]] = {name: [] for name in ways}
    peak = dict.fromkeys(ways, 0.0)
    for turn in range(rounds + 2):
        for name, around in ways.items():
            wall, peak[name] = step(around)
            if turn > 1:  # the first two warm up
                walls[name].append(wall)
    plain, looked = (statistics.median(walls[name]) for name in ways)
    whole = plain / SHAPES_7B["num_hidden_layers"] * LAYERS_7B
    return {
        "plain_s": plain,
        "read_s": looked - plain,
        "share": (looked - plain) / whole,
        "more_mb": peak["read"] - peak["plain"],
        "plain_mb": peak["plain"],
    }


def main() -> None:
    """Check, print lines for people and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--study", default="smoke", help="a finished study")
    parser.add_argument("--items", type=int, default=200, help="questions asked of each")
    parser.add_argument("--length", type=int, default=2048, help="tokens a sequence at 7B shapes")
    parser.add_argument("--batch", type=int, default=4, help="sequences a pass at 7B shapes")
    options = parser.parse_args()
    os.environ["SIGHTLINE_MIRROR"] = "off"
    import torch
    import transformers

    if not torch.cuda.is_available():
        print("no CUDA device here: nothing was checked")
        tell(device=None)
        return
    device = torch.cuda.get_device_name()
    print(f"{device}, torch {torch.__version__}, transformers {transformers.__version__}")
    said = answers(*places(options.study), options.items)
    off = reading_is_eager(options.length)
    print(f"attention read at 7B shapes in bfloat16 lies within {off:.1e} of eager attention")
    cost = reading_costs(options.length, options.batch, 10)
    print(
        f"reading one layer takes {1000 * cost['read_s']:.2f} ms beside "
        f"{1000 * cost['plain_s']:.1f} ms for two layers: {100 * cost['share']:.2f} % of a step "
        f"of {LAYERS_7B} layers (goal 1.2), and {cost['more_mb']:.0f} MB more than "
        f"{cost['plain_mb']:.0f}"
    )
    tell(
        device=device,
        torch=torch.__version__,
        transformers=transformers.__version__,
        answers=said,
        reading_off=off,
        reading=cost,
    )


if __name__ == "__main__":
    main()
