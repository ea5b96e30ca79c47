"""TRL's GRPO trainer with a credit rule between the update's forward pass and its loss.

The pass that the update makes anyway is the first over a rollout, so the policy is the one that
sampled: what a rule looks at is read there, and TRL's loss takes the [B, T] advantages that come
out. One method is overridden; a test holds that weights of one leave TRL's training bit for bit.
"""

import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from steps.models.connectivity import watched
from steps.posttrain.credit import (
    anchor,
    chance,
    entropy,
    inverse,
    low_connectivity,
    lowest,
    oracle,
    scale,
    shuffled,
    spoil,
    uniform,
    vppo,
)
from steps.posttrain.credit.seen import Credit, Seen

RULES: dict[str, Any] = {
    "uniform": uniform,
    "anchor": anchor,
    "low_connectivity": low_connectivity,
    "lowest": lowest,
    "inverse": inverse,
    "shuffled": shuffled,
    "random": chance,
    "entropy": entropy,
    "vppo": vppo,
    "oracle": oracle,
}
"""Every rule by the name that params.yaml gives it."""


class CreditTrainer(GRPOTrainer):
    """GRPO whose advantages are spread over tokens by `told.credit`."""

    def __init__(
        self,
        *args: Any,
        told: Any,
        depends: Callable[[Tensor, Tensor], Tensor] | None = None,
        **options: Any,
    ) -> None:
        """told: the section `grpo`. depends: which words of answers depend on the image [B, T],

        from token ids of prompts [B, P] and answers; for rules that need it.
        """
        super().__init__(*args, **options)
        self.rule, self.told, self.depends = RULES[told.credit], told, depends
        self.last: Tensor | None = None  # the weights of the last batch [B, T]
        if "depends" in self.rule.NEEDS and depends is None:
            raise ValueError(f"credit {told.credit!r} has to be told which words depend")

    @property
    def spoils(self) -> bool:
        """Whether the rule makes a forward pass of its own, over spoilt images."""
        return "drift" in self.rule.NEEDS

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        inputs, inner = dict(inputs), self.accelerator.unwrap_model(model)
        needs, answer = self.rule.NEEDS, inputs["completion_ids"].shape[1]
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        with ExitStack() as stack:
            watch, hidden = None, None
            if "attention" in needs:
                told = self.told
                heads = told.heads or None
                watch = stack.enter_context(
                    watched(inner, ids, mask, answer, told.layers, heads, told.sinks)
                )
            if self.spoils:
                hidden = stack.enter_context(spoil.last_states(inner))

            def after(module: Any, args: Any, given: dict[str, Any], out: Any) -> None:
                handle.remove()  # passes that a rule makes are not the update's
                inputs["advantages"] = self._credited(inner, inputs, given, out, watch, hidden)

            handle = inner.register_forward_hook(after, with_kwargs=True)
            stack.callback(handle.remove)
            return super()._compute_loss(model, inputs)

    @torch.no_grad()
    def _credited(
        self, model: Any, inputs: dict[str, Any], given: dict, out: Any, watch: Any, hidden: Any
    ) -> Tensor:
        """The batch's advantages [B, T]."""
        start = time.perf_counter()
        ids, told = inputs["completion_ids"], self.told
        seen: dict[str, Any] = {}
        generator = torch.Generator().manual_seed(
            zlib.crc32(ids.cpu().numpy().tobytes(), self.args.seed)
        )
        if watch is not None:
            found = watch.connectivity()
            density = found.mass if told.density == "mass" else found.enrichment
            seen |= {"density": density, "pattern": found.pattern}
        if "entropy" in self.rule.NEEDS:
            seen["entropy"] = out.entropy[:, -ids.shape[1] :].detach().float()
        if hidden is not None:
            seen["drift"] = spoil.drift(
                model, given, hidden, ids, told, self.processing_class, self.temperature, generator
            )
        if self.depends is not None:
            seen["depends"] = self.depends(inputs["prompt_ids"], ids).to(ids.device)
        mask = inputs["completion_mask"].bool()
        batch = Seen(mask, inputs["advantages"].float(), generator, **seen)
        credit = self.rule.weigh(batch, told)
        tokens = scale.equal(credit.tokens, mask) if told.equal_scale else credit.tokens * mask
        self.last = tokens
        self._note(batch, credit, time.perf_counter() - start)
        return inputs["advantages"][:, None] * credit.answers[:, None] * tokens

    def _note(self, seen: Seen, credit: Credit, seconds: float) -> None:
        """Add the batch to what TRL logs: shares of tokens, and their weight before scaling."""
        words = max(1, int(seen.mask.sum()))
        logged = self._metrics["train"]
        logged["credit/seconds"].append(seconds)
        logged["credit/weight"].append(float(credit.tokens[seen.mask].sum()) / words)
        if credit.chosen is not None:
            logged["credit/share"].append(float(credit.chosen.sum()) / words)
            if seen.depends is not None:
                hit = float((credit.chosen & seen.depends).sum())
                logged["credit/precision"].append(hit / max(1, int(credit.chosen.sum())))
                logged["credit/recall"].append(hit / max(1, int((seen.depends & seen.mask).sum())))
        if seen.density is not None:
            logged["credit/density"].append(float(seen.density[seen.mask].mean()))
