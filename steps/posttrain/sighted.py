"""SFT that is also told, patch by patch, what there is to see: the study's positive control.

A loss on the tower alone is added: its patch tokens are to tell the shape, or the category of the
photograph, that fills each patch. They are read through a fixed linear map, fitted to the base's
own tokens before training, so that no weights are learnt beside the model's and the tower is asked
to get better at what it does rather than to turn round. An instrument that does not see this arm's
eye get better could not have seen that of any other, and may not say that there was nothing to see.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl import SFTTrainer

from steps.models import families

PENALTY, ROUNDS = 1e-5, 100
"""Of the readout's weights; L-BFGS's iterations."""
BATCH = 256
"""Images at a time while the readout is fitted."""


def patches(maps: np.ndarray, side: int) -> np.ndarray:
    """The commonest class in each patch, int64 [N, P], from maps uint8 [N, H, W]; in reading order.

    side: of a patch in pixels. Of equally common classes the lower counts.
    """
    n, height, width = maps.shape
    cut = maps.reshape(n, height // side, side, width // side, side).transpose(0, 1, 3, 2, 4)
    cut = cut.reshape(n, -1, side * side)
    counts = np.stack([(cut == c).sum(-1) for c in range(int(maps.max()) + 1)])
    return counts.argmax(0)


def fitted(tokens: Tensor, true: Tensor, classes: int) -> Tensor:
    """Logistic regression of classes [N, P] on tokens [N, P, D]: weights [D + 1, classes].

    By L-BFGS from zero, with the penalty `PENALTY` on the weights' squares: what is left for the
    tower to learn is what no other readout of it could tell.
    """
    x, y = _level(tokens).flatten(0, 1), true.flatten()
    w = torch.zeros(x.shape[1], classes, device=x.device, requires_grad=True)
    search = torch.optim.LBFGS([w], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        found = torch.nn.functional.cross_entropy(x @ w, y) + PENALTY * w.square().sum()
        found.backward()
        return found

    search.step(loss)  # type: ignore[arg-type]
    return w.detach()


class SightedTrainer(SFTTrainer):
    """SFT with `weight` times the patches' cross-entropy added; rows have `patches` [P]."""

    def __init__(self, *args: Any, readout: Tensor, weight: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self.data_collator, self.weight = _Collator(self.data_collator), weight
        self.readout = readout

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Tensor:
        """TRL's loss and the patches', which is logged as `patch_loss`."""
        true, pixels = inputs.pop("patches"), inputs["pixel_values"]
        loss = super().compute_loss(model, inputs, *args, **options)
        turn = int(torch.randint(8, (1,)))  # few images are soon known by heart
        side = round(true.shape[-1] ** 0.5)
        tokens = read(self.accelerator.unwrap_model(model), turned(pixels, turn))
        found = self.patch_loss(tokens, turned(true.unflatten(1, (side, side)), turn).flatten(1))
        self._metrics["train"]["patch_loss"].append(found.item())
        return loss + self.weight * found / self.current_gradient_accumulation_steps

    def patch_loss(self, tokens: Tensor, true: Tensor) -> Tensor:
        """Cross-entropy of patch tokens [N, P, D] against classes [N, P], through the readout."""
        logits = _level(tokens) @ self.readout.to(tokens)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), true.flatten())


def turned(x: Tensor, turn: int) -> Tensor:
    """A square picture [..., H, W] turned and mirrored: the 8 ways to lay it down, 0 to 7."""
    x = torch.rot90(x, turn % 4, (-2, -1))
    return x.flip(-1) if turn >= 4 else x


def read(model: Any, pixels: Tensor) -> Tensor:
    """Patch tokens [N, P, D] as the projector reads them of images [N, 3, H, W]."""
    families.only(model, "sft.patch_loss")
    tower = model.model.vision_tower
    states = tower(pixel_values=pixels, output_hidden_states=True).hidden_states
    first = int(model.config.vision_feature_select_strategy == "default")  # a class token
    return states[model.config.vision_feature_layer][:, first:]


def readout(model: Any, pixels: Callable[[slice], Tensor], true: np.ndarray) -> Tensor:
    """`fitted` on the tokens of a VLM as it is; pixels: a slice of the images true [N, P] is of."""
    parts = [slice(start, start + BATCH) for start in range(0, len(true), BATCH)]
    with torch.no_grad():
        tokens = torch.cat([read(model, pixels(part).to(model.device)) for part in parts])
    return fitted(tokens, torch.from_numpy(true).to(tokens.device), int(true.max()) + 1)


def _level(tokens: Tensor) -> Tensor:
    """Tokens [..., D] brought to one scale, and a 1 behind each."""
    flat = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:])
    return torch.nn.functional.pad(flat, (0, 1), value=1.0)


class _Collator:
    """TRL's collator, and the patches' classes beside what it makes."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.inner(rows)
        return batch | {"patches": torch.tensor(np.stack([row["patches"] for row in rows]))}
