"""Frozen answers: the reference responses to judged questions, and how a model reads them.

All models read the same words, so figures compare between arms.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from steps.models.look import Looked
from steps.models.sample import located, rendered


def answers(folder: Path, count: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The first `count` judged questions [N] of an items folder, and images uint8 [N, H, W, 3].

    Only questions whose reference response has words that depend on the image and others.
    """
    table = pd.read_parquet(folder / "vqa.parquet")
    table = table[table["depends"].map(lambda marks: 0 < sum(marks) < len(marks))]
    table = table.iloc[:count].reset_index(drop=True)
    images = np.load(folder / "vqa_images.npy", mmap_mode="r", allow_pickle=False)
    return table, np.array(images[table["image"].to_numpy()])


def asked(
    processor: Any, image_tokens: int, some: pd.DataFrame
) -> tuple[Any, list[np.ndarray], Tensor]:
    """Ids and mask [N, P] of questions with their answers, padded on the left, and whose they are.

    Returned besides: for each answer its tokens' words [tokens], and which tokens are the user's
    words, bool [N, P]. A word may be several tokens; a token belongs to the word that its last
    letter is in.
    """
    responses = [" ".join(text.split()) for text in some["response"]]
    texts = rendered(processor, image_tokens, list(some["prompt"]), responses)
    found, owners, places = _encoded(processor, texts, responses)
    user = torch.zeros(places.shape[:2], dtype=torch.bool)
    rows = zip(texts, some["prompt"], responses, places, strict=True)
    for i, (text, prompt, response, place) in enumerate(rows):
        asks = text.rindex(prompt.strip(), 0, len(text) - len(response))
        start, end = place.T
        user[i] = (end > start) & (end > asks) & (start < asks + len(prompt.strip()))
    return found, owners, user


def in_words(processor: Any, some: pd.DataFrame) -> tuple[Any, list[np.ndarray], Tensor]:
    """As `asked`, but the scene is told in words where the image was: its textual twin.

    The last returned are the twin's tokens, bool [N, P]. some: has the column truth.
    """
    from steps.data.language import told

    responses = [" ".join(text.split()) for text in some["response"]]
    twins = [told(json.loads(truth)["things"]) for truth in some["truth"]]
    prompts = [f"{twin} {prompt}" for twin, prompt in zip(twins, some["prompt"], strict=True)]
    texts = rendered(processor, 0, prompts, responses)
    found, owners, places = _encoded(processor, texts, responses)
    region = torch.zeros(places.shape[:2], dtype=torch.bool)
    for i, (text, twin, place) in enumerate(zip(texts, twins, places, strict=True)):
        start, end = place.T
        first = text.index(twin)
        region[i] = (end > start) & (end > first) & (start < first + len(twin))
    return found, owners, region


def _encoded(
    processor: Any, texts: list[str], responses: list[str]
) -> tuple[Any, list[np.ndarray], Tensor]:
    """Ids and mask [N, P] of texts that end in responses, these's words, and tokens' places."""
    found, places = located(processor, texts)
    owners = []
    for text, response, place in zip(texts, responses, places, strict=True):
        first = len(text) - len(response)
        ends = [end - first for start, end in place.tolist() if end > max(first, start)]
        owners.append(np.array([response[: end - 1].count(" ") for end in ends]))
    return found, owners, places


class Batch:
    """Answers [B] that a model reads: what is before the image, image, padding, question, answer.

    asked: ids and mask [B, P]. image: columns [N] of the image's tokens, the same for all; `known`
    columns up to its end, R behind it. user bool [B, R]: the user's words. The last T tokens hold
    the answers, the end of each at the end: real bool [B, T] marks them, owners their words, tied
    bool [B, T] those whose word depends on the image. Row i of R predicts token i + 1.
    """

    def __init__(self, model: Any, processor: Any, some: pd.DataFrame, pictures: np.ndarray):
        self.seen = Looked(model, processor, pictures)
        self.known = len(self.seen.before)
        self.image = torch.nonzero(self.seen.before == model.config.image_token_id)[:, 0]
        _, self.owners, user = asked(processor, len(self.image), some)
        said = [" ".join(text.split()) for text in some["response"]]
        self.asked = self.seen.asked(list(some["prompt"]), said)
        self.user = user[:, self.known :].to(model.device)
        self.depends = [np.asarray(marks, bool) for marks in some["depends"]]
        self.real = self.spread([np.ones(len(owner)) for owner in self.owners]).bool()
        self.tied = self.spread(
            [marks[owner] for marks, owner in zip(self.depends, self.owners, strict=True)]
        ).bool()

    def spread(self, values: list[np.ndarray]) -> Tensor:
        """A value for each token of each answer, as float32 [B, T]; zero where there is none."""
        width = max(map(len, self.owners))
        rows = [np.pad(np.asarray(v, np.float32), (width - len(v), 0)) for v in values]
        return torch.from_numpy(np.stack(rows)).to(self.user.device)

    def rows(self, tokens: Tensor) -> Tensor:
        """The rows [B, R] that predict `tokens` [B, T], with the same values."""
        behind = self.user.shape[1]
        return torch.nn.functional.pad(tokens, (behind - tokens.shape[1] - 1, 1))

    def chances(self, sight: Tensor | None = None, some: np.ndarray | None = None) -> Tensor:
        """Log-probabilities float32 [M, T, words] of each answer's tokens, for answers `some`.

        sight: what each row sees, bool [M, 1, R, P]; None for all that stand before it.
        """
        some = np.arange(len(self.owners)) if some is None else some
        told = {name: part[some] for name, part in self.asked.items()}
        logits = self.seen.logits(told, some, self.real.shape[1] + 1, sight)
        return logits[:, :-1].float().log_softmax(-1)

    def judged(self, chances: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Of the words that depend on the image: summed log-probability, share likeliest [B].

        chances [B, T, words]. A word is likeliest where all its tokens are.
        """
        told = self.asked["input_ids"][:, -chances.shape[1] :]
        logp = chances.gather(-1, told[..., None])[..., 0].masked_fill(~self.tied, 0).sum(1)
        wrong = (chances.argmax(-1) != told).cpu().numpy()
        share = [
            (np.bincount(owner, row[-len(owner) :], len(marks)) == 0)[marks].mean()
            for owner, row, marks in zip(self.owners, wrong, self.depends, strict=True)
        ]
        return logp.double().cpu().numpy(), np.array(share)
