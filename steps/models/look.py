"""Any questions about images that are each read once.

An image stands in front of its question, so the keys and values of all tokens up to the image's
end are the same whatever is asked. They are computed once for each distinct image; every question
goes on from there. Families in which an image sees its question, or whose tokens are counted
otherwise, read both together each time.
"""

import copy
from collections.abc import Sequence
from math import isqrt
from typing import Any

import numpy as np

from steps.models import families, load
from steps.models.sample import prompts
from steps.stage import StageError


def square(model: Any, instrument: str) -> int:
    """Image tokens along a side of the image. Raises StageError where they make no square."""
    tokens = model.config.image_seq_length
    side = isqrt(tokens)
    if side * side != tokens or not families.of(model).RASTER:
        raise StageError(
            f"an image is {tokens} tokens, which make no square, so that no token's place is "
            f"known: leave {instrument} out of `instruments`"
        )
    return side


def overlap(boxes: Sequence[Sequence[float]], side: int, canvas: int) -> np.ndarray:
    """The share of each patch that lies in boxes, float32 [side * side] in reading order.

    boxes: (left, top, right, bottom) in pixels of an image of canvas x canvas, the last two
    exclusive. Shares of several boxes add up, to 1 at most.
    """
    edges = np.arange(side + 1) * canvas / side
    left, top, right, bottom = np.array([*map(list, boxes)], float).reshape(-1, 4).T[..., None]
    wide = (np.minimum(right, edges[1:]) - np.maximum(left, edges[:-1])).clip(0)
    high = (np.minimum(bottom, edges[1:]) - np.maximum(top, edges[:-1])).clip(0)
    share = np.einsum("br,bc->rc", high, wide).ravel() * (side / canvas) ** 2
    return share.clip(max=1).astype(np.float32)


class Looked:
    """A batch of images as a model has seen them."""

    def __init__(self, model: Any, processor: Any, pictures: np.ndarray) -> None:
        """Read `pictures` uint8 [N, H, W, 3]; equal ones are read once."""
        import torch

        self.model, self.processor = model, processor
        ids = self._whole(["?"], [""])["input_ids"]
        marks = np.flatnonzero(ids[0].numpy() == model.config.image_token_id)
        self.before = ids[0, : int(marks[-1]) + 1]
        self.packs = families.of(model).PACKS
        if not self.packs:
            self.seen = load.reader(processor.image_processor)(pictures).to(model.device)
            return
        first, place = distinct(pictures)
        seen = load.reader(processor.image_processor)(pictures[first]).to(model.device)
        ids = self.before.expand(len(first), -1).to(model.device)
        with torch.inference_mode():
            out = model(input_ids=ids, pixel_values=seen, use_cache=True, logits_to_keep=1)
        self.cache = out.past_key_values
        self.cache.batch_select_indices(torch.tensor(place, device=model.device))

    def answers(self, texts: list[str], max_tokens: int) -> list[str]:
        """The model's greedy answers to one question about each image."""
        import torch

        asked = self.asked(texts, [""] * len(texts))
        with torch.inference_mode():
            ids = self.model.generate(
                **asked,
                **self._image(np.arange(len(texts))),
                do_sample=False,
                max_new_tokens=max_tokens,
            )
        said = ids[:, asked["input_ids"].shape[1] :]
        told = self.processor.tokenizer.batch_decode(said, skip_special_tokens=True)
        return [text.strip() for text in told]

    def asked(self, texts: list[str], begun: list[str]) -> dict[str, Any]:
        """Token ids and mask [M, T] of questions, padded between the image and the question.

        begun: the words that each answer has to begin with, or an empty text.
        """
        whole, known = self._whole(texts, begun), len(self.before)
        if not self.packs:
            return {name: part.to(self.model.device) for name, part in whole.items()}
        ids, mask = whole["input_ids"], whole["attention_mask"]
        # Padding stood in front: it changes places with what is in front of every question.
        pads = mask.shape[1] - mask.sum(1)
        for i, pad in enumerate(pads.tolist()):
            for part in (ids[i, : pad + known], mask[i, : pad + known]):
                part.copy_(part.roll(-pad))
        return {name: part.to(self.model.device) for name, part in whole.items()}

    def logits(self, asked: dict[str, Any], rows: np.ndarray, keep: int, sight: Any = None) -> Any:
        """Logits [M, keep, words] at the last tokens of questions `asked` about images `rows`.

        sight: which tokens [T] each of the R behind the image sees, bool [M, 1, R, T]; None for
        all that stand before it. Raises StageError for a sight of a model that reads images and
        questions together.
        """
        import torch

        if not self.packs:
            return self._together(asked, rows, keep, sight)

        known, mask = len(self.before), asked["attention_mask"]
        with torch.inference_mode():
            out = self.model(
                input_ids=asked["input_ids"][:, known:],
                attention_mask=mask if sight is None else sight,
                position_ids=(mask.cumsum(1) - 1)[:, known:],
                past_key_values=self._kept(rows),
                logits_to_keep=keep,
            )
        return out.logits

    def _whole(self, texts: list[str], begun: list[str]) -> Any:
        return prompts(self.processor, self.model.config.image_seq_length, texts, begun)

    def _together(self, asked: dict[str, Any], rows: np.ndarray, keep: int, sight: Any) -> Any:
        """`logits` of a model that reads images and questions together."""
        import torch

        if sight is not None:
            raise StageError(
                f"what a token of a {self.model.config.model_type!r} sees cannot be chosen: leave "
                "gaze out of `instruments`"
            )
        with torch.inference_mode():
            return self.model(**asked, **self._image(rows), logits_to_keep=keep).logits

    def _image(self, rows: np.ndarray) -> dict[str, Any]:
        """What a pass is given of the images of some rows."""
        import torch

        if self.packs:
            return {"past_key_values": self._kept(rows)}
        return {"pixel_values": self.seen[torch.from_numpy(rows).to(self.seen.device)]}

    def _kept(self, rows: np.ndarray) -> Any:
        """A copy of some rows' keys and values, since a pass adds its own to them."""
        import torch

        some = copy.copy(self.cache)
        some.layers = [copy.copy(layer) for layer in self.cache.layers]
        some.batch_select_indices(torch.from_numpy(rows).to(self.model.device))
        return some


def distinct(images: np.ndarray) -> tuple[list[int], list[int]]:
    """The first row of each distinct image of `images` [N, ...], and each row's number there [N].

    Images count as equal where they are so bit for bit.
    """
    numbers: dict[bytes, int] = {}
    place = [numbers.setdefault(image.tobytes(), len(numbers)) for image in images]
    return [place.index(number) for number in range(len(numbers))], place
