"""Collect one layer's activations before and after visual tuning, on the very same inputs.

Four cells (model_diffing.md 6.1): S and D from the language model before visual tuning, behind the
aligned projector, M and F from the model after it; S and M read the text alone, D and F image,
question and reference response (teacher forced). Tokens are those of the image, the question and
the answer; padding is left out, and so are the leading tokens that all samples share: with causal
attention each sample has the very same vectors there, often of outlier size.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steps.diff import activations, hooks, samples
from steps.diff.samples import Sample
from steps.models import load
from steps.stage import Missing, StageError
from steps.track import log

BATCH = 32  # samples a forward pass


def run(params: Any, inputs: dict[str, Path], out: Path) -> dict[str, float]:
    """Write the four cells of inputs['base'] on items of inputs['items'] (see activations).

    params.diff.layer: whose output is read. params.diff.tokens: tokens with the image, at most.
    Raises Missing where the base lacks its stage before visual tuning, ValueError where
    its two stages have different tokenizers.
    """
    base, layer = Path(inputs["base"]), params.diff.layer
    processor = _processor(base)
    rows = samples.draw(Path(inputs["items"]), params.run.seed)
    kinds = {"image": samples.take(processor, rows, params.diff.tokens)}
    kinds["text"] = samples.encode(processor, rows[: len(kinds["image"])], image=False)
    tokens = {}
    for kind, some in kinds.items():
        samples.leave_out_shared(some)
        table = samples.table(some)
        table.to_parquet(out / f"{kind}.parquet")
        tokens[kind] = len(table)
    cells: dict[str, Any] = {}
    for name in ("aligned", "instruct"):
        model = load.vlm(base / name)
        model.to(load.device())
        hooks.stop_after(model, layer)
        width = model.config.text_config.hidden_size
        if not cells:
            size = 2 * width * 2 * sum(tokens.values())
            log.text(
                f"harvest: {len(rows)} items on offer, {len(kinds['image'])} taken, "
                f"{tokens['image']} tokens with the image, {tokens['text']} without, layer {layer} "
                f"of two models: {size / 1e6:.1f} MB"
            )
        for cell in (c for c, (which, _) in activations.CELLS.items() if which == name):
            kind = activations.CELLS[cell][1]
            pixels = processor.image_processor if kind == "image" else None
            activations.write(out, cell, layer, forward(model, layer, kinds[kind], pixels))
            cells[cell] = {"model": name, "input": kind, "tokens": tokens[kind]}
        del model
    facts = {"layer": layer, "width": width, "cells": cells}
    (out / "activations.json").write_text(json.dumps(facts, indent=1))
    return {
        "harvest/samples": len(kinds["image"]),
        "harvest/tokens": tokens["image"],
        "harvest/tokens_text": tokens["text"],
        "harvest/megabytes": size / 1e6,
    }


def _processor(base: Path) -> Any:
    files = [base / name / "tokenizer.json" for name in ("aligned", "instruct")]
    if not files[0].exists():
        raise Missing(
            f"{base} has no aligned/ (its stage before visual tuning), which model diffing needs: "
            "use a base that keeps its stages"
        )
    if files[0].read_bytes() != files[1].read_bytes():
        raise StageError(
            f"{files[0]} and {files[1]} differ: both stages must read the same tokens; "
            "save them with one tokenizer"
        )
    processor = load.processor(base / "instruct")
    processor.tokenizer.padding_side = "right"
    return processor


@torch.inference_mode()
def forward(model: Any, layer: int, some: list[Sample], pixels: Any) -> Iterator[Tensor]:
    """Activations [n, d] behind `layer` of the tokens kept, sample by sample, in batches.

    `pixels`: the image processor, None to leave the images out.
    """
    for at in range(0, len(some), BATCH):
        batch = some[at : at + BATCH]
        longest = max(len(s.ids) for s in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.int64)
        types = torch.full((len(batch), longest), -1)
        mask = torch.zeros_like(ids)
        for row, sample in enumerate(batch):
            ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
            types[row, : len(sample.ids)] = torch.tensor(sample.types)
            mask[row, : len(sample.ids)] = 1
        given = {"input_ids": ids, "attention_mask": mask}
        if pixels is not None:
            images = [s.images[s.row] for s in batch]
            given["pixel_values"] = pixels(images, return_tensors="pt")["pixel_values"]
        with hooks.capture(model, [layer]) as seen:
            model(
                **{name: value.to(model.device) for name, value in given.items()},
                use_cache=False,
                logits_to_keep=1,  # none at all cannot be asked for
            )
        yield seen[layer].cpu()[types >= 0]
