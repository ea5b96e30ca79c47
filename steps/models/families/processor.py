"""A processor for families whose own has other habits than LLaVA's or needs torchvision.

It writes an image as its placeholder, as often as the image has tokens, and leaves everything else
to an image processor by PIL and to the tokenizer.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from transformers import BatchFeature, ImageProcessingMixin, ProcessorMixin


class Fixed(ImageProcessingMixin):
    """An image processor by which all images become squares of one size, one row an image."""

    def __init__(self, images: Any, side: int, rows: Callable[[Any], Any], by: Any) -> None:
        """images: the one that follows; rows: takes pixel values [N, ...] from what it gives."""
        super().__init__()
        self.inner, self.side, self.rows, self.by = images, side, rows, by

    def __call__(self, images: Any, return_tensors: str = "pt", **_: Any) -> BatchFeature:
        """Pixel values [N, ...] of images, PIL or uint8 [H, W, 3], one or a (nested) list."""
        flat = [self._square(one) for one in _flat(images)]
        return BatchFeature({"pixel_values": self.rows(self.inner(flat, return_tensors="pt"))})

    def _square(self, image: Any) -> Image.Image:
        image = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
        return image.convert("RGB").resize((self.side, self.side), self.by)

    def to_dict(self) -> dict[str, Any]:
        """What is compared between two models' image processors."""
        return {**self.inner.to_dict(), "side": self.side}

    def save_pretrained(self, save_directory: Any, **given: Any) -> Any:
        """Write the settings, which are the inner one's."""
        return self.inner.save_pretrained(save_directory, **given)


class Placed(ProcessorMixin):
    """Text and images as a model takes them; images as (nested) lists in the order of the text."""

    def __init__(
        self, image_processor: Any, tokenizer: Any, image_token: str, image_seq_length: int
    ) -> None:
        self.image_processor, self.tokenizer = image_processor, tokenizer
        self.image_token, self.image_seq_length = image_token, image_seq_length
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        self.chat_template = tokenizer.chat_template
        self.published: str | None = None  # the folder's own template, where it reads otherwise

    def __call__(self, images: Any = None, text: Any = None, **given: Any) -> BatchFeature:
        """Token ids and mask of text, and pixel values of images where there are any."""
        texts = [text] if isinstance(text, str) else list(text or [])
        mark, tensors = self.image_token, given.pop("return_tensors", None)
        for name in ("images_kwargs", "videos_kwargs", "common_kwargs", "padding_side_", "videos"):
            given.pop(name, None)
        given = {**given, **given.pop("text_kwargs", {})}
        made: dict[str, Any] = {}
        if texts:
            if images is not None:
                texts = [one.replace(mark, mark * self.image_seq_length) for one in texts]
            made |= self.tokenizer(texts, return_tensors=tensors, **given)
        if images is not None:
            made |= self.image_processor(images=images, return_tensors="pt")
        return BatchFeature(made, tensor_type=tensors)

    @property
    def model_input_names(self) -> list[str]:
        """What models are given."""
        return ["input_ids", "attention_mask", "pixel_values"]

    def save_pretrained(self, save_directory: Any, **_: Any) -> list[str]:
        """Write tokenizer, image processor and a processor_config.json."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        ours = self.tokenizer.chat_template
        self.tokenizer.chat_template = self.published or ours
        self.tokenizer.save_pretrained(folder)
        self.tokenizer.chat_template = ours
        self.image_processor.save_pretrained(folder)
        told = {"image_token": self.image_token, "image_seq_length": self.image_seq_length}
        (folder / "processor_config.json").write_text(json.dumps(told, indent=2) + "\n")
        return []


def _flat(images: Any) -> list[Any]:
    if isinstance(images, list | tuple):
        return [one for some in images for one in _flat(some)]
    if isinstance(images, np.ndarray) and images.ndim == 4:
        return list(images)
    return [images]
