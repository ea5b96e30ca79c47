"""TRL's GRPO trainer with a credit rule between the update's forward pass and its loss.

The pass that the update makes anyway is the first over a rollout, so the policy is the one that
sampled: what a rule looks at is read there, and TRL's loss takes the [B, T] advantages that come
out. Credit is one overridden method, `_compute_loss`; a test holds that weights of one leave TRL's
training bit for bit. Another fills batches up, where `refill` asks for that.
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
from steps.models.grouped import Reads
from steps.posttrain import refill
from steps.posttrain.credit import (
    anchor,
    chance,
    entropy,
    gradients,
    inverse,
    low_connectivity,
    lowest,
    oracle,
    pgpo,
    scale,
    shuffled,
    spoil,
    uniform,
    vppo,
)
from steps.posttrain.credit.seen import Credit, Seen
from steps.posttrain.credit.select import most
from steps.posttrain.dose import Frozen
from steps.stage import StageError

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
    "pgpo": pgpo,
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
        frozen: Frozen | None = None,
        reads: Reads | None = None,
        **options: Any,
    ) -> None:
        """told: the section `grpo`. depends: which words of answers depend on the image [B, T],

        from token ids of prompts [B, P] and answers; for rules that need it. frozen: what the
        divergence from the base is measured on. reads: how passes are packed, if they are.
        """
        super().__init__(*args, **options)
        self.rule, self.told, self.depends = RULES[told.credit], told, depends
        self.frozen, self.reads = frozen, reads or Reads()
        self.last: Tensor | None = None  # the weights of the last batch [B, T]
        self.measured: int | None = None  # the last step that was measured
        if "depends" in self.rule.NEEDS and depends is None:
            raise ValueError(f"credit {told.credit!r} has to be told which words depend")

    @property
    def spoils(self) -> bool:
        """Whether the rule makes a forward pass of its own, over spoilt images."""
        return "drift" in self.rule.NEEDS

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch of answers, with flat groups replaced in up to `told.refill` rounds.

        What TRL logs of answers stays that of the questions that came first, as without refilling.
        """
        batch = super()._generate_and_score_completions(inputs)
        group, logged = self.num_generations, self._metrics["train"]
        drawn, before = {"groups": 0, "prompted": 0}, {n: len(of) for n, of in logged.items()}
        for number in range(self.told.refill):
            lacking = int(self.accelerator.gather(refill.flat(batch, group).sum()).max())
            if not lacking:
                break
            key = [self.args.seed, self.state.global_step, number, self.accelerator.process_index]
            more = super()._generate_and_score_completions(
                refill.others(self.train_dataset, lacking, group, key)
            )
            refill.spliced(batch, more, group, self._tokenizer.pad_token_id)
            drawn["groups"] += lacking * self.accelerator.num_processes
            drawn["prompted"] += self._summed(more["prompt_mask"][::group].sum())
        if self.told.refill:
            batch["num_items_in_batch"] = self.accelerator.gather(
                batch["completion_mask"].sum()
            ).sum()
            for name, values in logged.items():
                del values[before.get(name, 0) :]
            for name, count in drawn.items():
                logged[f"refill/{name}"].append(count)
            logged["refill/flat"].append(float(refill.flat(batch, group).float().mean()))
        return batch

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        inputs, inner = dict(inputs), self.accelerator.unwrap_model(model)
        answer, due = inputs["completion_ids"].shape[1], self._due()
        needs = self.rule.NEEDS | ({"attention"} if due else set())
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        told, began, kept = self.told, time.perf_counter(), []
        with ExitStack() as stack:
            watch, hidden = None, None
            if "attention" in needs:
                heads, spread = told.heads or None, self.reads.heads
                watch = stack.enter_context(
                    watched(inner, ids, mask, answer, told.layers, heads, told.sinks, spread)
                )
            if self.spoils:
                hidden = stack.enter_context(spoil.last_states(inner))

            def after(module: Any, args: Any, given: dict[str, Any], out: Any) -> None:
                handle.remove()  # passes that a rule makes are not the update's
                self._metrics["train"]["seconds/forward"].append(time.perf_counter() - began)
                self._compare(inputs, out)
                found = None if watch is None else watch.connectivity()
                inputs["advantages"] = self._credited(inner, inputs, given, out, found, hidden)
                kept.append((out.log_probs, found))

            handle = inner.register_forward_hook(after, with_kwargs=True)
            stack.callback(handle.remove)
            loss = super()._compute_loss(model, inputs)
        if due:
            self._measure(inner, inputs, *kept[0])
        return loss

    def _summed(self, number: Any) -> int:
        """A count over all processes."""
        told = torch.as_tensor(number, device=self.accelerator.device).reshape(1)
        return int(self.accelerator.gather(told).sum())

    def _due(self) -> bool:
        """Whether this pass is the first of a step that is measured."""
        step, every = self.state.global_step, self.told.measure_every
        fresh = step != self.measured and step < self.state.max_steps
        if not (every and fresh and step % every == 0):
            return False
        self.measured = step
        return True

    @torch.no_grad()
    def _compare(self, inputs: dict[str, Any], out: Any) -> None:
        """Log how far the update's policy is from the one that sampled: the ratio is to be 1.

        An engine of its own that samples (vLLM) may have other kernels, weights of an earlier step,
        or another template. Raises StageError where it is further off than `told.agree`.
        """
        logged = self._metrics["train"]
        logged["images"].append(self._summed(self.reads.images))
        logged["tokens"].append(self._summed(self.reads.tokens))
        if (sampled := inputs.get("sampling_per_token_logps")) is not None:
            mask = inputs["completion_mask"]
            off = (out.log_probs[:, -sampled.shape[1] :] - sampled) * mask
            logged["ratio_off"].append(float((off.exp() - 1).abs().max()))
            logged["sampler_off"].append(float(off.abs().sum() / mask.sum().clamp(min=1)))
            if logged["sampler_off"][-1] > self.told.agree:
                raise StageError(
                    f"grpo.agree = {self.told.agree:g}: the sampler's log-probabilities are off by "
                    f"{logged['sampler_off'][-1]:.3g} a token: it samples from another model than "
                    "is trained; set grpo.sampler to own, or see what differs (precision, template)"
                )

    def _measure(self, model: Any, inputs: dict[str, Any], logps: Tensor, found: Any) -> None:
        """Log gradient norms on anchors and on other words, and the divergence from the base."""
        mask, logged = inputs["completion_mask"].bool(), self._metrics["train"]
        density = found.mass if self.told.density == "mass" else found.enrichment
        anchors, rest = gradients.norms(
            logps[:, -mask.shape[1] :],
            inputs["advantages"],
            mask,
            most(density, mask, self.told.share),
            self.args.loss_type,
            model.parameters(),
        )
        logged["gradient/anchors"].append(anchors)
        logged["gradient/others"].append(rest)
        if anchors + rest > 0:
            logged["gradient/share"].append(anchors / (anchors + rest))
        if self.frozen is not None:
            logged["kl_base"].append(self.frozen.divergence(model))

    @torch.no_grad()
    def _credited(
        self, model: Any, inputs: dict[str, Any], given: dict, out: Any, found: Any, hidden: Any
    ) -> Tensor:
        """The batch's advantages [B, T]."""
        start = time.perf_counter()
        ids, told = inputs["completion_ids"], self.told
        seen: dict[str, Any] = {}
        generator = torch.Generator().manual_seed(
            zlib.crc32(ids.cpu().numpy().tobytes(), self.args.seed)
        )
        if "attention" in self.rule.NEEDS:
            density = found.mass if told.density == "mass" else found.enrichment
            seen |= {"density": density, "pattern": found.pattern}
        if "entropy" in self.rule.NEEDS:
            seen["entropy"] = out.entropy[:, -ids.shape[1] :].detach().float()
        if hidden is not None:
            processor, heat = self.processing_class, self.temperature
            seen["drift"] = spoil.drift(
                model, given, hidden, ids, told, processor, heat, generator, self.reads.rows
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
        logged["seconds/credit"].append(seconds)
        logged["credit/weight"].append(float(credit.tokens[seen.mask].sum()) / words)
        if credit.chosen is not None:
            logged["credit/share"].append(float(credit.chosen.sum()) / words)
            if seen.depends is not None:
                hit = float((credit.chosen & seen.depends).sum())
                logged["credit/precision"].append(hit / max(1, int(credit.chosen.sum())))
                logged["credit/recall"].append(hit / max(1, int((seen.depends & seen.mask).sum())))
        if seen.density is not None:
            logged["credit/density"].append(float(seen.density[seen.mask].mean()))
