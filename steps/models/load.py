"""Models from local folders in Hugging Face's layout: safetensors only, no code from outside."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steps import gpus
from steps.stage import Missing

if TYPE_CHECKING:
    import numpy as np
    import torch


def device() -> str:
    """Where models run: `cuda` on a machine that has it, with a GPU of its own, else `cpu`."""
    import torch

    gpus.take()
    return "cuda" if torch.cuda.is_available() else "cpu"


def _folder(path: Path | str) -> str:
    path = Path(path)
    if not (path / "config.json").is_file():
        raise Missing(
            f"{path} is no model folder: it has no config.json. Give a folder that "
            "`save_pretrained` wrote, or run the stage that makes it."
        )
    return str(path)


def vlm(folder: Path | str) -> Any:
    """The VLM in a folder: float32, in eval mode."""
    import torch
    from transformers import LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(
        _folder(folder),
        dtype=torch.float32,
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
    )
    return model.eval()


def untrained(model: Any, seed: int) -> Any:
    """A model of the same configuration with random weights, in eval mode: the null of readings."""
    import torch

    torch.manual_seed(seed)
    return type(model)._from_config(model.config).to(device()).eval()


def processor(folder: Path | str) -> Any:
    """The processor saved beside a VLM, with the PIL image processor (no torchvision)."""
    from transformers import AutoTokenizer, LlavaProcessor

    words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return LlavaProcessor.from_pretrained(
        folder, image_processor=images(folder), tokenizer=words, local_files_only=True
    )


def images(folder: Path | str) -> Any:
    """The image processor saved in a folder, of whichever class, by PIL (no torchvision)."""
    from transformers import AutoImageProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    if _kind(Path(folder)).startswith("SiglipImageProcessor"):
        return SiglipImageProcessorPil.from_pretrained(folder, local_files_only=True)
    return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)


def _kind(folder: Path) -> str:
    """The class of a folder's image processor, by the file that holds its settings."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            told = json.loads((folder / name).read_text())
            told = told.get("image_processor", told)
            if "image_processor_type" in told:
                return told["image_processor_type"]
    raise Missing(
        f"{folder} has no image processor: its processor_config.json names none. Give a folder "
        "that `save_pretrained` of model and processor wrote."
    )


def pixels(images: "np.ndarray", device: Any = "cpu") -> "torch.Tensor":
    """Images uint8 [N, H, W, 3] as the tower reads them: float32 [N, 3, H, W] in [-1, 1].

    On `device`, to which they travel as they are: a quarter of the bytes.
    The same arithmetic as the saved image processor (a test compares them), without its overhead.
    """
    import torch

    x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).contiguous().float()
    return (x / 255 - 0.5) / 0.5


def reader(images: Any) -> Callable[["np.ndarray"], "torch.Tensor"]:
    """What turns images uint8 [N, H, W, 3] into what a tower reads, float32 [N, 3, h, w].

    It is `pixels` for sizes at which the image processor `images` does the same arithmetic (found
    on noise), and that processor, with its own size and normalisation, for all others.
    """
    import numpy as np
    import torch

    quick: dict[tuple[int, ...], bool] = {}

    def read(batch: np.ndarray) -> torch.Tensor:
        size = batch.shape[1:]
        if size not in quick:
            noise = np.random.default_rng(0).integers(0, 256, (1, *size), np.uint8)
            slow, fast = _slow(images, noise), pixels(noise)
            quick[size] = slow.shape == fast.shape and torch.allclose(slow, fast, rtol=0, atol=1e-6)
        return pixels(batch) if quick[size] else _slow(images, batch)

    return read


def _slow(images: Any, batch: "np.ndarray") -> "torch.Tensor":
    from PIL import Image

    return images([Image.fromarray(one) for one in batch], return_tensors="pt")["pixel_values"]
