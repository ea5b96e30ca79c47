"""Many answers to each question, sampled with one pass over the image and the prompt.

The draws of a question stand side by side in one row: each attends to the prompt and to its own
words and to no other draw, at the positions that it would have alone. The keys and values of the
prompt, by far the larger part, are therefore neither computed nor stored once for each draw.
"""

from typing import Any, NamedTuple

import numpy as np

from steps import ranks
from steps.models import families


class Drawn(NamedTuple):
    """Sampled answers: words, token ids [N, draws, T], the padding id after an answer's end.

    logps, float32 [N, draws, T]: log-probability of each word at the temperature, before what may
    never be drawn was taken out.
    """

    words: np.ndarray
    logps: np.ndarray


def rendered(processor: Any, image_tokens: int, texts: list[str], begun: list[str]) -> list[str]:
    """Questions with their image as the model reads them, up to where their answers go on.

    begun: the words that each answer has to begin with, or an empty text. image_tokens: 0 where
    there is no image.
    """
    found, mark = [], processor.image_token
    image = [{"type": "image"}] if image_tokens else []
    for text, start in zip(texts, begun, strict=True):
        talk = [{"role": "user", "content": [*image, {"type": "text", "text": text}]}]
        asked = processor.tokenizer.apply_chat_template(
            talk, tokenize=False, add_generation_prompt=True
        )
        gap = " " if start and not asked[-1:].isspace() else ""
        found.append(asked.replace(mark, mark * image_tokens) + gap + start)
    return found


def prompts(processor: Any, image_tokens: int, texts: list[str], begun: list[str]) -> Any:
    """Token ids and mask [N, P], padded on the left, of what `rendered` gives."""
    return processor.tokenizer(
        rendered(processor, image_tokens, texts, begun),
        padding=True,
        padding_side="left",
        add_special_tokens=False,
        return_tensors="pt",
    )


def located(processor: Any, texts: list[str]) -> tuple[Any, Any]:
    """Token ids and mask [N, P] of ready texts, padded on the left; and where each token lies.

    The last is int64 [N, P, 2]: first and one past the last letter of its text, 0 for padding.
    """
    found = processor.tokenizer(
        texts,
        padding=True,
        padding_side="left",
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    return found, found.pop("offset_mapping")


def draw(
    model: Any,
    processor: Any,
    texts: list[str],
    begun: list[str],
    images: list[Any],
    draws: int,
    max_tokens: int,
    temperature: float,
    generator: Any,
) -> tuple[Any, Drawn]:
    """Draw answers to questions: the token ids and mask of these (`prompts`), and the answers.

    images: PIL images [N], one a question.
    """
    asked = prompts(processor, model.config.image_seq_length, texts, begun)
    seen = processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
    place = model.device
    drawn = sample(
        model, asked.to(place), seen.to(place), draws, max_tokens, temperature, generator
    )
    return asked, drawn


def sample(
    model: Any,
    asked: Any,
    pixels: Any,
    draws: int,
    max_tokens: int,
    temperature: float,
    generator: Any,
) -> Drawn:
    """Answers of at most max_tokens tokens.

    asked: from `prompts`. pixels: float32 [N, ...], as an image processor gives them. Both where
    the model is. generator: the torch generator drawn from, on the CPU.
    An image's placeholder, padding, a beginning, and what the model's generation config
    suppresses, are never drawn (unless they mark an answer's end).
    """
    import torch

    rules, (n, width), place = model.generation_config, asked["input_ids"].shape, model.device
    stop = torch.tensor(rules.eos_token_id, device=place).reshape(-1)
    marks = (model.config.image_token_id, rules.pad_token_id, rules.bos_token_id)
    never = {*marks, *(rules.suppress_tokens or [])} - {None, *stop.tolist()}
    if not families.of(model).PACKS:
        return _apart(model, asked, pixels, draws, max_tokens, temperature, generator, never)
    lowest = torch.finfo(torch.float32).min
    seen = torch.where(asked["attention_mask"].bool(), 0.0, lowest)[:, None, None]
    apart = torch.full((draws, draws), lowest, device=place).fill_diagonal_(0.0)
    seen, apart = seen.expand(n, 1, draws, width), apart.expand(n, 1, draws, draws)
    words = torch.full((n, draws, max_tokens), rules.pad_token_id, device=place)
    logps = torch.zeros(words.shape, device=place)
    done = torch.zeros(n, draws, dtype=torch.bool, device=place)
    with torch.inference_mode():
        out = model(**asked, pixel_values=pixels, use_cache=True, logits_to_keep=1)
        scores = out.logits.expand(n, draws, -1)
        for t in range(max_tokens):
            drawn, logps[..., t] = _word(scores, temperature, never, generator)
            words[..., t] = torch.where(done, rules.pad_token_id, drawn)
            done |= torch.isin(drawn, stop)
            # With weights in shares, a process whose answers have ended still hands out its own.
            if ranks.every(bool(done.all()), place) or t + 1 == max_tokens:
                break
            seen = torch.cat([seen, apart], -1)
            out = model(
                input_ids=drawn,
                attention_mask=seen,
                position_ids=torch.full((n, draws), width + t, device=place),
                past_key_values=out.past_key_values,
                use_cache=True,
            )
            scores = out.logits
    return Drawn(words[..., : t + 1].cpu().numpy(), logps[..., : t + 1].cpu().numpy())


def _word(scores: Any, temperature: float, never: set[int], generator: Any) -> tuple[Any, Any]:
    """A word for each row of logits [..., words], and its log-probability, as `Drawn` has it."""
    import torch

    scores = scores / temperature
    total = scores.logsumexp(-1)
    scores[..., list(never)] = -torch.inf
    chances = scores.softmax(-1).flatten(0, -2).cpu()  # where the generator is
    drawn = torch.multinomial(chances, 1, generator=generator).view(total.shape).to(scores.device)
    return drawn, scores.gather(-1, drawn[..., None])[..., 0] - total


def _apart(
    model: Any,
    asked: Any,
    pixels: Any,
    draws: int,
    max_tokens: int,
    temperature: float,
    generator: Any,
    never: set[int],
) -> Drawn:
    """`sample` where draws cannot stand side by side: each has a row and the prompt to itself."""
    import torch

    rules, n, place = model.generation_config, len(asked["input_ids"]), model.device
    stop = torch.tensor(rules.eos_token_id, device=place).reshape(-1)
    ids, mask = (asked[k].repeat_interleave(draws, 0) for k in ("input_ids", "attention_mask"))
    words = torch.full((n * draws, max_tokens), rules.pad_token_id, device=place)
    logps = torch.zeros(words.shape, device=place)
    done = torch.zeros(n * draws, dtype=torch.bool, device=place)
    told = {"pixel_values": pixels.repeat_interleave(draws, 0)}
    with torch.inference_mode():
        for t in range(max_tokens):
            out = model(
                input_ids=ids, attention_mask=mask, use_cache=True, logits_to_keep=1, **told
            )
            drawn, logps[:, t] = _word(out.logits[:, -1], temperature, never, generator)
            words[:, t] = torch.where(done, rules.pad_token_id, drawn)
            done |= torch.isin(drawn, stop)
            if ranks.every(bool(done.all()), place):
                break
            ids, told = drawn[:, None], {"past_key_values": out.past_key_values}
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
    found = (part[:, : t + 1].unflatten(0, (n, draws)).cpu().numpy() for part in (words, logps))
    return Drawn(*found)
