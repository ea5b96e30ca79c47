"""How far an arm moved its model: divergence from the base, and change of weights by part."""

from pathlib import Path
from typing import Any

import numpy as np

from steps.posttrain import budget, questions

ITEMS = 64
"""Frozen responses that the divergence is measured on: the first of the tuning split."""
BATCH = 16


def dose(model: Any, base: Any, processor: Any, items: Path) -> dict[str, float]:
    """Metrics `dose/kl` and `dose/<part>`; all 0 for an untouched base.

    model, base: LLaVAs in eval mode. items: the folder of the seed's questions.
    """
    return {"dose/kl": Frozen(base, processor, items).divergence(model), **moved(model, base)}


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


class Frozen:
    """The base's word for reference responses to the first ITEMS tuning questions.

    What it holds are the distributions [tokens, V] at each of their tokens and at their ends, so
    that the base itself is needed no longer.
    """

    def __init__(self, base: Any, processor: Any, items: Path) -> None:
        from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

        collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
        rows = _examples(items)
        self.batches = [collate(rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)]
        self.base = [_foretold(base, batch) for batch in self.batches]

    def divergence(self, model: Any) -> float:
        """KL(model || base) in nats, mean over the tokens of the responses and their ends."""
        total, count = 0.0, 0
        for batch, old in zip(self.batches, self.base, strict=True):
            new = _foretold(model, batch)
            total += (new.exp() * (new - old.to(new.device))).sum().item()
            count += len(new)
        return max(0.0, total / count)


def _examples(items: Path) -> list[dict[str, Any]]:
    """The frozen questions as TRL's collator takes them."""
    from PIL import Image

    frozen = questions.table(items, "tune").iloc[:ITEMS]
    images = np.load(items / "tune_images.npy", mmap_mode="r", allow_pickle=False)
    return [
        {
            "prompt": questions.asked(row.prompt),
            "completion": questions.said(row.response),
            "image": Image.fromarray(np.array(images[row.image])),
        }
        for row in frozen.itertuples()
    ]


def _foretold(model: Any, batch: dict[str, Any]) -> Any:
    """Log-probabilities [tokens, V] at the responses' tokens, each as foretold before it."""
    import torch

    batch = {name: value.to(model.device) for name, value in batch.items()}
    told = batch.pop("labels")[:, 1:] != -100
    some = told.any(0).nonzero()[:, 0]  # logits of a whole batch, images too, would be gigabytes
    with torch.no_grad():
        logits = model(**batch, logits_to_keep=some).logits
    return logits[told[:, some]].log_softmax(-1)
