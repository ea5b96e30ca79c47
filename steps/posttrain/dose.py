"""How far an arm moved its model: divergence from the base, and change of weights by part."""

from pathlib import Path
from typing import Any

import numpy as np

from steps.posttrain import budget, questions

ITEMS = 64
"""Frozen responses that the divergence is measured on: the first of the tuning split."""


def dose(model: Any, base: Any, processor: Any, items: Path) -> dict[str, float]:
    """Metrics `dose/kl` and `dose/<part>`; all 0 for an untouched base.

    model, base: LLaVAs in eval mode. items: the folder of the seed's questions.
    """
    frozen = questions.table(items, "tune").iloc[:ITEMS]
    images = np.load(items / "tune_images.npy", mmap_mode="r", allow_pickle=False)
    pictures = np.array(images[frozen["image"].to_numpy()])
    return {"dose/kl": divergence(model, base, processor, frozen, pictures), **moved(model, base)}


def nothing() -> dict[str, float]:
    """The dose of an arm that does not train."""
    return {"dose/kl": 0.0, **{f"dose/{part}": 0.0 for part in budget.PARTS}}


def moved(model: Any, base: Any) -> dict[str, float]:
    """Relative change of weights, norm of the difference over norm of the base, by part."""
    change, whole = dict.fromkeys(budget.PARTS, 0.0), dict.fromkeys(budget.PARTS, 0.0)
    for (name, new), (_, old) in zip(
        model.named_parameters(), base.named_parameters(), strict=True
    ):
        old = old.detach().double()
        change[budget.part(name)] += (new.detach().double() - old).square().sum().item()
        whole[budget.part(name)] += old.square().sum().item()
    return {f"dose/{part}": (change[part] / whole[part]) ** 0.5 for part in budget.PARTS}


def divergence(model: Any, base: Any, processor: Any, frozen: Any, pictures: np.ndarray) -> float:
    """KL(model || base) in nats, mean over the tokens of reference responses and their ends.

    frozen: a table with `prompt` and `response`; pictures: their images uint8 [N, H, W, 3].
    """
    import torch
    from PIL import Image
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    total, count = 0.0, 0
    for start in range(0, len(frozen), 16):
        rows = frozen.iloc[start : start + 16]
        batch = collate(
            [
                {
                    "prompt": questions.asked(row.prompt),
                    "completion": questions.said(row.response),
                    "image": Image.fromarray(picture),
                }
                for row, picture in zip(
                    rows.itertuples(), pictures[start : start + 16], strict=True
                )
            ]
        )
        batch = {name: value.to(model.device) for name, value in batch.items()}
        told = batch.pop("labels")[:, 1:] != -100  # a token is foretold at the one before it
        with torch.no_grad():
            new, old = (m(**batch).logits[:, :-1][told].log_softmax(-1) for m in (model, base))
        total += (new.exp() * (new - old)).sum().item()
        count += int(told.sum())
    return max(0.0, total / count)
