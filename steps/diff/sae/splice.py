"""A dictionary's reconstruction in place of what a site gives, and what that does to the answers.

Beside each splice stand two ablations of the very same tokens: by zeros and by the mean. Measured
is the loss on the tokens of the reference answer, and how far their chances moved:

    loss recovered = (CE_ablated - CE_spliced) / (CE_ablated - CE_clean)
    KL score       = (KL_ablated - KL_spliced) / KL_ablated,     KL(p_clean || p_new)

(SAEBench's core evaluation, 2503.09532). 1: the splice does no harm, 0: as much as the ablation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steps.diff import hooks
from steps.diff.reading import ANSWER, Asked
from steps.models import load

BATCH = 32  # samples a forward pass
LEAST_HARM = 0.02  # nats
DRAWS = 1000  # of the bootstrap
Change = Callable[[Tensor], Tensor]
"""What comes instead of some tokens' activations: [n, d] -> [n, d]."""


@dataclass
class Answers:
    """What a pass says of each sample's answer, float64 [N]: means over its tokens.

    loss: cross-entropy. kl: KL(p_clean || p_new), 0 in the clean pass. right: whether the answer's
    first token is the likeliest. logp: log-probabilities [T, words], for later passes' kl.
    """

    loss: np.ndarray
    kl: np.ndarray
    right: np.ndarray
    logp: list[Tensor]


class Reader:
    """Questions with their answers, as a model reads them again and again while sites change.

    What enters the language model is the same each time: images are looked at once.
    """

    @torch.inference_mode()
    def __init__(self, model: Any, processor: Any, some: Asked) -> None:
        self.model, self.some = model, some
        self.given: list[dict[str, Any]] = []  # what the decoder is called with, batch by batch
        keep = self.model.get_decoder().register_forward_pre_hook(self._note, with_kwargs=True)
        pixels = load.reader(processor.image_processor)
        try:
            for rows in self._batches():
                given = {"input_ids": rows.ids, "attention_mask": rows.mask}
                given["position_ids"] = (rows.mask.cumsum(1) - 1).clamp_min(0)
                if rows.images is not None:
                    given["pixel_values"] = pixels(rows.images)
                given = {name: value.to(model.device) for name, value in given.items()}
                model(**given, use_cache=False, logits_to_keep=1)
        finally:
            keep.remove()
        self.clean = self.answers({})

    def _note(self, module: Any, args: Any, given: dict[str, Any]) -> None:
        self.given.append(given)

    def _batches(self) -> list[Asked]:
        return [self.some.rows(slice(at, at + BATCH)) for at in range(0, len(self.some), BATCH)]

    @torch.inference_mode()
    def answers(self, edits: Mapping[str, tuple[Change, list[int]]]) -> Answers:
        """Read all while sites are changed: {site: (change, types of the tokens changed)}.

        Tokens of other types keep what they have, padding and what all samples share above all.
        """
        found, at = Answers(*np.zeros((3, len(self.some))), []), 0
        for rows, given in zip(self._batches(), self.given, strict=True):
            said = rows.types == ANSWER
            keep = int(said.shape[1] - said.int().argmax(1).min()) + 1
            with hooks.edit(self.model, {s: _only(rows, *what) for s, what in edits.items()}):
                behind = self.model.get_decoder()(**given).last_hidden_state
            logits = self.model.get_output_embeddings()(behind[:, -keep:-1])
            logp = logits.float().log_softmax(-1).cpu()
            said, ids = said[:, 1 - keep :], rows.ids[:, 1 - keep :]
            for own, mine, told in zip(logp, said, ids, strict=True):
                self._judge(found, at, own[mine], told[mine])
                at += 1
        return found

    def _judge(self, found: Answers, at: int, logp: Tensor, told: Tensor) -> None:
        """Note sample `at`: log-probabilities [T, words] where its answer's tokens [T] stand."""
        found.loss[at] = -logp.gather(1, told[:, None]).double().mean()
        found.right[at] = logp[0].argmax() == told[0]
        if not hasattr(self, "clean"):
            found.logp.append(logp)
        else:
            was = self.clean.logp[at]
            found.kl[at] = (was.exp() * (was - logp)).sum(1).double().mean()


def _only(rows: Asked, change: Change, types: list[int]) -> Change:
    """The change at tokens of some types alone, in a batch [B, P, d]."""
    mask = torch.isin(rows.types, torch.tensor(types))

    def edit(x: Tensor) -> Tensor:
        new = x.clone()
        new[mask.to(x.device)] = change(x[mask.to(x.device)]).to(x.dtype)
        return new

    return edit


def recovered(
    clean: np.ndarray, ablated: np.ndarray, spliced: np.ndarray, dice: np.random.Generator
) -> tuple[float, float, float] | None:
    """Share of what an ablation costs that a splice gives back, with 95 % bootstrap bounds.

    clean, ablated, spliced: a figure of each sample [N], high where harm was done. None where the
    ablation does no harm to speak of, so that there is nothing to recover.
    """
    if (ablated - clean).mean() < LEAST_HARM:
        return None
    draws = dice.integers(0, len(clean), (DRAWS, len(clean)))
    harm, back = (ablated - clean)[draws].mean(1), (ablated - spliced)[draws].mean(1)
    low, high = np.quantile(back / harm, (0.025, 0.975))
    return float((ablated - spliced).mean() / (ablated - clean).mean()), float(low), float(high)
