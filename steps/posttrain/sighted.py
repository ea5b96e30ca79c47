"""SFT that is also told, patch by patch, what there is to see: the study's positive control.

A loss on the tower alone is added: its patch tokens are to tell the shape that fills each patch
(cross-entropy through fixed directions, one a class, so that no weights are learnt beside the
model's). An instrument that does not see this arm's eye get better could not have seen that of any
other, and may not say that there was nothing to see.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl import SFTTrainer


def patches(maps: np.ndarray, side: int) -> np.ndarray:
    """The commonest class in each patch, int64 [N, P], from maps uint8 [N, H, W]; in reading order.

    side: of a patch in pixels. Of equally common classes the lower counts.
    """
    n, height, width = maps.shape
    cut = maps.reshape(n, height // side, side, width // side, side).transpose(0, 1, 3, 2, 4)
    cut = cut.reshape(n, -1, side * side)
    counts = np.stack([(cut == c).sum(-1) for c in range(int(maps.max()) + 1)])
    return counts.argmax(0)


class SightedTrainer(SFTTrainer):
    """SFT with `weight` times the patches' cross-entropy added; rows have `patches` [P]."""

    def __init__(self, *args: Any, classes: int, weight: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self.data_collator, self.weight = _Collator(self.data_collator), weight
        width = self.model.config.vision_config.hidden_size
        drawn = torch.randn(width, classes, generator=torch.Generator().manual_seed(0))
        self.directions = torch.linalg.qr(drawn).Q * width**0.5

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Tensor:
        """TRL's loss and the patches', which is logged as `patch_loss`."""
        true, seen = inputs.pop("patches"), []
        inner = self.accelerator.unwrap_model(model)
        layer = inner.config.vision_feature_layer
        handle = inner.model.vision_tower.register_forward_hook(
            lambda module, args, out: seen.append(out.hidden_states[layer])
        )
        try:
            loss = super().compute_loss(model, inputs, *args, **options)
        finally:
            handle.remove()
        (states,) = seen
        found = self.patch_loss(states[:, -true.shape[1] :], true)
        self._metrics["train"]["patch_loss"].append(found.item())
        return loss + self.weight * found / self.current_gradient_accumulation_steps

    def patch_loss(self, tokens: Tensor, true: Tensor) -> Tensor:
        """Cross-entropy of patch tokens [N, P, D], brought to one scale, against classes [N, P]."""
        flat = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:])
        logits = flat @ self.directions.to(flat) / flat.shape[-1] ** 0.5
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), true.flatten())


class _Collator:
    """TRL's collator, and the patches' classes beside what it makes."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.inner(rows)
        return batch | {"patches": torch.tensor(np.stack([row["patches"] for row in rows]))}
