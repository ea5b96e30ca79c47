"""What cannot fit, in one sentence each, with the key to change."""

from collections.abc import Iterable
from typing import Any

from steps.study.costs.memory import TRAINS, USABLE
from steps.study.costs.rows import TRAINED, Device, Row


def memory(rows: list[Row], on: Device, train: Any) -> Iterable[str]:
    """A sentence for each stage whose memory no GPU of this kind has."""
    if on.gpu is None:
        return
    room = on.gpu.memory * USABLE * 2**30
    for row in rows:
        if row.memory > room:
            kind = max(row.held, key=row.held.__getitem__)
            who = f" (arm {row.arm})" if row.arm else ""
            need, part, has = (v / 2**30 for v in (row.memory, row.held[kind], room))
            yield (
                f"{row.stage}{who} needs {need:.1f} GiB of GPU memory, {part:.1f} of them for "
                f"{kind}, and {on.gpu.name} has {has:.1f}: {_key(row, kind, train)}"
            )


def _key(row: Row, kind: str, train: Any) -> str:
    """What to change where a kind of memory is too much."""
    if row.stage in TRAINED:
        micro = "grpo.micro_batch" if row.stage == "grpo" else "train.micro_batch"
        if kind == "activations":
            more = "" if train.recompute else "set train.recompute: true, or "
            return f"{more}lower {micro}"
        if kind == "cache":
            return "lower grpo.prompts or grpo.generations"
        if train.lora.rank and kind == "comparison":
            return "take a larger GPU: model and base are read whole, in float32, in the end"
        if train.lora.rank:
            return "raise train.processes with train.shard: true, or take a larger GPU"
        return "set train.lora.rank, or train.processes with train.shard: true"
    if kind in ("weights", "gradients", "optimiser"):
        return f"take a larger GPU, or leave {row.stage} out of instruments"
    if kind == "dictionaries":
        return "take fewer of diff.layers at a time, or lower diff.width"
    section = f"recipe.{row.stage}" if row.stage in TRAINS else row.stage
    return f"lower {section}.batch"


def disk(rows: list[Row], count: int, free: float) -> Iterable[str]:
    """A sentence where the disk has no room for what is kept and what is there in passing."""
    kept = sum(row.jobs * row.work.disk for row in rows)
    most = sum(sorted((row.work.spare for row in rows), reverse=True)[:count])
    if kept + most > free:
        row = max(rows, key=lambda one: one.jobs * one.work.disk)
        key = {
            "harvest": "set diff.store: false, or lower diff.tokens or diff.layers",
            "items": "lower items.train, or give it fewer seeds",
        }.get(row.stage, "take fewer seeds or arms, or a disk with more room for results/")
        yield (
            f"the study keeps {kept / 1e9:.1f} GB ({row.jobs * row.work.disk / 1e9:.1f} of them of "
            f"{row.stage}) and needs {most / 1e9:.1f} GB besides while it runs, and results/ has "
            f"{free / 1e9:.1f} GB free: {key}"
        )
