"""How GRPO's answers are drawn: all of a group's with one pass over its image and question.

TRL's own way without vLLM reads the prompt once for every answer of a group.
"""

import time
from typing import Any

from steps.models.sample import draw


def rollouts(asked: list[list[dict[str, Any]]], trainer: Any) -> dict[str, Any]:
    """TRL's `rollout_func`: token ids of prompts and of one sampled answer to each.

    asked: conversations of one user's turn, an image and a text, each repeated for its group.
    Drawn from torch's own generator, whose state checkpoints keep. The log-probabilities are there
    to be compared with the update's: sampling and updates are aligned, and TRL takes the latter.
    """
    import torch

    began = time.perf_counter()
    args, model, processor = trainer.args, trainer.model, trainer.processing_class
    group = args.num_generations
    once = [{part["type"]: part for part in turns[0]["content"]} for turns in asked[::group]]
    texts = [turn["text"]["text"] for turn in once]
    mode = model.training
    model.eval()  # where activations are computed again, a model in training keeps no cache
    batch, (drawn, logps) = draw(
        model,
        processor,
        texts,
        [""] * len(texts),
        [turn["image"]["image"] for turn in once],
        group,
        args.max_completion_length,
        args.temperature,
        torch.default_generator,
    )
    model.train(mode)
    rows = zip(batch["input_ids"].cpu(), batch["attention_mask"].bool().cpu(), strict=True)
    read = [ids[mask].tolist() for ids, mask in rows]
    ends = set(trainer.eos_token_ids)
    said = [_whole(words, ends) for words in drawn.reshape(-1, drawn.shape[-1]).tolist()]
    likely = zip(said, logps.reshape(-1, logps.shape[-1]).tolist(), strict=True)
    trainer._metrics["train"]["seconds/sampling"].append(time.perf_counter() - began)
    return {
        "prompt_ids": [ids for ids in read for _ in range(group)],
        "completion_ids": said,
        "logprobs": [row[: len(words)] for words, row in likely],
    }


def _whole(words: list[int], ends: set[int]) -> list[int]:
    """An answer's tokens up to its end, which belongs to it."""
    stop = next((i for i, word in enumerate(words) if word in ends), len(words) - 1)
    return words[: stop + 1]
