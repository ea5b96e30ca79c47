"""Models from local folders in Hugging Face's layout: safetensors only, no code from outside."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steps import gpus
from steps.stage import Missing, StageError

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
    """The VLM in a folder, of any of `steps.models.families`: float32, in eval mode.

    It takes what a LLaVA takes, and `config.image_seq_length` says how many tokens an image has.
    """
    import torch

    from steps.models import families

    at = _folder(folder)
    config = settings(at)
    model = families.kind(config.model_type).from_pretrained(
        at,
        config=config,
        dtype=torch.float32,
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
    )
    return model.eval()


def settings(folder: Path | str) -> Any:
    """The configuration of the VLM in a folder, with `image_seq_length` whatever its family.

    Raises StageError for a family that is not known and for a folder that brings code along.
    """
    from transformers import AutoConfig

    from steps.models import families

    told = _told(folder)
    if "auto_map" in told:
        raise StageError(
            f"{folder} asks to run code of its own (auto_map in config.json), which is never done: "
            "give a model of a class that transformers has"
        )
    if told.get("model_type") not in families.FAMILIES:
        raise StageError(
            f"{folder} is of type {told.get('model_type')!r}: give one of model_type "
            + ", ".join(families.FAMILIES)
        )
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    family = families.of(config)
    if config.model_type != "llava":
        config.image_seq_length = family.tokens(config, family.images(config, folder))
    if config.model_type == "paligemma":
        config.question_end_id = _break(folder)
    return config


def _told(folder: Path | str) -> dict[str, Any]:
    """What a folder's config.json says; nothing where it has none."""
    path = Path(folder) / "config.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def _break(folder: Path | str) -> int:
    """The token that ends a question: a line break."""
    from transformers import AutoTokenizer

    words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = words("\n", add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise StageError(f"{folder}: a line break is {len(ids)} tokens: it has to be one")
    return ids[0]


def untrained(model: Any, seed: int) -> Any:
    """A model of the same configuration with random weights, in eval mode: the null of readings."""
    import torch

    torch.manual_seed(seed)
    return type(model)._from_config(model.config).to(device()).eval()


def processor(folder: Path | str) -> Any:
    """The processor saved beside a VLM, with the PIL image processor (no torchvision)."""
    from transformers import AutoTokenizer, LlavaProcessor

    from steps.models import families

    words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if _told(folder).get("model_type", "llava") != "llava":
        from steps.models.families.processor import Placed

        config = settings(folder)
        family, old = families.of(config), Path(folder) / "chat_template.json"
        if not words.chat_template and old.is_file():
            words.chat_template = json.loads(old.read_text())["chat_template"]
        published = words.chat_template
        words.chat_template = family.template(published)
        mark = words.convert_ids_to_tokens(config.image_token_id)
        seen = family.images(config, folder)
        if not isinstance(mark, str):
            raise StageError(
                f"{folder}: its tokenizer has no token {config.image_token_id}, the model's image "
                "token: set image_token_id in config.json, or add the token"
            )
        found = Placed(seen, words, mark, config.image_seq_length)
        found.published = published
        return found
    return LlavaProcessor.from_pretrained(
        folder, image_processor=images(folder), tokenizer=words, local_files_only=True
    )


def images(folder: Path | str) -> Any:
    """The image processor saved in a folder, of whichever class, by PIL (no torchvision)."""
    from transformers import AutoConfig

    from steps.models import families

    if _told(folder).get("model_type", "llava") in set(families.FAMILIES) - {"llava"}:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        return families.of(config).images(config, folder)
    return families.llava.images(None, folder)


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
