"""Which image tokens a loss rests on: its gradient at the encoder's and at the projector's output.

Two maps of a loss, each [B, P] on the grid of patches. `gradient` is PIVOT's own (2510.16333,
appendix E.4; called Grad-CAM there): the L1 norm over channels of d loss / d token. `gradcam` is
Grad-CAM proper (Selvaraju et al. 2017, 1610.02391), by captum. PIVOT's figure names the encoder's
output, its code hooks the projector's: both are read here.

A loss is a small function of the log-probabilities of one or two answers. Its gradient is put
together by the chain rule from those of the log-probabilities, each from one backward pass for a
whole batch, since no answer reads another one's image.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from steps.models import families
from steps.models.sample import rendered

PLACES = ("encoder", "projector")
"""What the projector reads, and what the language model is given."""
METHODS = ("gradient", "gradcam")
TEXTS = ("chosen", "rejected", "description")
"""What a model is asked to hold of each image; `LOSSES` are made of it."""


class Said(NamedTuple):
    """Answers [B] as a model holds them: summed log-probability, number of tokens."""

    logp: Tensor
    tokens: Tensor


class Text(NamedTuple):
    """Questions with answers: ids, mask [B, T], padded on the left; tokens [B] of each answer."""

    ids: Tensor
    mask: Tensor
    tokens: Tensor


def sft(said: Said) -> Tensor:
    """SFT's loss on each answer [B]: negative log-likelihood, mean over its tokens."""
    return -said.logp / said.tokens


def dpo(chosen: Said, rejected: Said, reference: Tensor, beta: float = 0.1) -> Tensor:
    """DPO's loss on each pair [B] (2305.18290, equation 7).

    reference [B]: log-probability of the chosen over the rejected answer under the reference model.
    It enters the gradient as one positive factor for each pair, so that no score of a map depends
    on it (nor on beta).
    """
    margin = chosen.logp - rejected.logp - reference
    return -torch.nn.functional.logsigmoid(beta * margin)


def grpo(right: Said, wrong: Said) -> Tensor:
    """GRPO's loss on a group of a right and a wrong answer [B] (2402.03300, equation 3).

    Advantages are +1 and -1, the policy is the one that sampled (ratio 1), tokens are averaged
    within an answer: the gradient is that of -(right - wrong) / 2. On answers of equal length it is
    DPO's but for a factor.
    """
    return -(right.logp / right.tokens - wrong.logp / wrong.tokens) / 2


def _preference(said: dict[str, Said]) -> Tensor:
    """DPO's loss where training starts: the reference is the policy, and all pairs weigh alike."""
    one, other = said["chosen"], said["rejected"]
    return dpo(one, other, (one.logp - other.logp).detach())


LOSSES: dict[str, Callable[[dict[str, Said]], Tensor]] = {
    "answer": lambda said: sft(said["chosen"]),
    "preference": _preference,
    "reward": lambda said: grpo(said["chosen"], said["rejected"]),
    "describe": lambda said: sft(said["description"]),
}
"""Losses by what is held of TEXTS: SFT's, DPO's and GRPO's; and as a control SFT's on a request
that asks for no object in particular."""


def text(
    processor: Any, image_tokens: int, prompts: list[str], answers: list[str], ends: bool = True
) -> Text:
    """Questions with their image and answers, as the trainers' chat template has them.

    An answer's tokens are those that the text has more than the question alone, as TRL counts.
    ends: whether the template's mark of an answer's end belongs to it.
    """
    words = [" ".join(answer.split()) for answer in answers]
    whole = rendered(processor, image_tokens, prompts, words)
    if ends:
        whole = [one + _end(processor) for one in whole]
    asked = rendered(processor, image_tokens, prompts, [""] * len(prompts))
    options = {"padding": True, "padding_side": "left", "add_special_tokens": False}
    found, known = (
        processor.tokenizer(texts, return_tensors="pt", **options) for texts in (whole, asked)
    )
    tokens = found["attention_mask"].sum(1) - known["attention_mask"].sum(1)
    return Text(found["input_ids"], found["attention_mask"], tokens)


def _end(processor: Any) -> str:
    """What the chat template writes behind an answer."""
    mark = "answer"
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
    return processor.tokenizer.apply_chat_template(talk, tokenize=False).rpartition(mark)[2]


def read(model: Any, pixels: Tensor) -> Tensor:
    """What the encoder makes of pixels [B, 3, H, W] and the projector reads: [B, P, D]."""
    families.only(model, "localise")
    seen: list[Tensor] = []
    hook = model.model.multi_modal_projector.register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    try:
        with torch.no_grad():
            model.model.get_image_features(pixel_values=pixels)
    finally:
        hook.remove()
    return seen[0].detach()


def said(model: Any, given: Tensor, words: Text) -> Said:
    """What a model holds of answers when its language model is given image tokens [B, P, D]."""
    ids, mask, tokens = (part.to(given.device) for part in words)
    embedded = model.get_input_embeddings()(ids)
    seats = (ids == model.config.image_token_id)[..., None].expand_as(embedded)
    embedded = embedded.masked_scatter(seats, given.to(embedded.dtype))
    kept = int(tokens.max())
    out = model(
        inputs_embeds=embedded, attention_mask=mask, logits_to_keep=kept + 1, use_cache=False
    )
    chances = out.logits[:, :-1].float().log_softmax(-1)
    each = chances.gather(-1, ids[:, -kept:, None])[..., 0]
    own = torch.arange(kept, 0, -1, device=ids.device) <= tokens[:, None]
    return Said(each.masked_fill(~own, 0).sum(1), tokens)


def gradients(model: Any, seen: Tensor, words: dict[str, Text]) -> dict[str, dict[str, Tensor]]:
    """The gradients of all losses in tokens, at both places: {loss: {place: float32 [B, P, D]}}.

    seen: `read`. words: by TEXTS. The tokens themselves stand under the
    name `tokens`. The model's weights get no gradients.
    """
    seen = seen.detach().requires_grad_()
    given = model.model.multi_modal_projector(seen)
    places = dict(zip(PLACES, (seen, given), strict=True))
    held: dict[str, Said] = {}
    slopes: dict[str, tuple[Tensor, ...]] = {}
    for name, one in words.items():
        found = said(model, given, one)
        slopes[name] = torch.autograd.grad(found.logp.sum(), [seen, given], retain_graph=True)
        held[name] = Said(found.logp.detach().requires_grad_(), found.tokens)
    parts = {"tokens": {place: value.detach() for place, value in places.items()}}
    for loss, of in LOSSES.items():
        leaves = [one.logp for one in held.values()]
        factors = torch.autograd.grad(of(held).sum(), leaves, allow_unused=True)
        used = [(f, name) for f, name in zip(factors, held, strict=True) if f is not None]
        parts[loss] = {
            place: sum((f[:, None, None] * slopes[name][at] for f, name in used), torch.zeros(()))
            for at, place in enumerate(PLACES)
        }
    return parts


def gradient(slope: Tensor) -> Tensor:
    """PIVOT's map [B, P] of a loss's gradient [B, P, D]: L1 norm over channels."""
    return slope.abs().sum(-1)


def gradcam(tokens: Tensor, slope: Tensor) -> Tensor:
    """Grad-CAM [B, P] of what a loss wants more of, by captum: at tokens and gradient [B, P, D].

    The score that Grad-CAM explains is the loss with its sign turned: relu(sum_c w_c token_c),
    w_c the mean over patches of d score / d token_c. It knows the score by its gradient alone, so
    captum is given the linear function that has this gradient; channels come second for captum.
    """
    from captum.attr import LayerGradCam

    pull = -slope.transpose(1, 2)
    layer = torch.nn.Identity()
    cam = LayerGradCam(lambda x: (layer(x) * pull).flatten(1).sum(1), layer)
    found = cam.attribute(tokens.detach().transpose(1, 2).requires_grad_(), relu_attributions=True)
    return found[:, 0].detach()
