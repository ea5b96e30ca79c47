"""The linear segmentation head: its training and its predictions, on frozen patch tokens.

DINOv2's and DINOv3's linear protocol: tokens standardised (their batch norm, with the exact
statistics of train), one linear layer, logits upsampled bilinearly to the labels' resolution,
cross-entropy over the pixels, AdamW with a cosine schedule.
"""

from collections.abc import Sequence

import numpy as np
import torch

from steps.data.readers import IGNORED
from steps.stage import StageError

DECAY = 1e-4  # of DINOv2's linear head; the intercept is left alone
STRIDE = 4


def fit(
    x: torch.Tensor,
    y: torch.Tensor,
    classes: int,
    rate: float,
    epochs: int,
    batch: int,
    seed: int,
    stride: int = STRIDE,
) -> torch.Tensor:
    """Train the linear head on tokens x [N, P, D] and maps y uint8 [N, H, W].

    Each step takes every `stride`-th row and column of the full-resolution logits, from a random
    offset: an unbiased estimate of the gradient over all pixels at a fraction of its price
    (at 4, mean IoU on a random tower moved by at most 0.003).
    Returns weights [D + 1, classes], the intercept last, on the raw tokens.
    """
    flat = x.flatten(0, 1)
    mean, scale = flat.mean(0), flat.std(0).clamp_min(1e-6)
    z = torch.cat([(x - mean) / scale, torch.ones(*x.shape[:2], 1)], 2)
    z = z.transpose(0, 1).contiguous()
    w = torch.zeros(z.shape[2], classes)
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    decay = torch.full_like(w, DECAY)
    decay[-1] = 0
    rows, columns = (upsampler(_side(x), size) for size in y.shape[1:])
    dice = torch.Generator().manual_seed(seed)
    steps, step = epochs * -(-len(x) // batch), 0
    for _ in range(epochs):
        for part in torch.randperm(len(x), generator=dice).split(batch):
            now = 0.5 * rate * (1 + np.cos(np.pi * step / steps))
            step += 1
            top, left = torch.randint(stride, (2,), generator=dice).tolist()
            seen = y[part, top::stride, left::stride].permute(1, 2, 0)
            g = gradient(z[:, part], seen, w, rows[top::stride], columns[left::stride])
            first.lerp_(g, 0.1)
            second.lerp_(g * g, 0.001)
            slope = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
            w -= now * (slope + decay * w)  # AdamW (Loshchilov & Hutter 2019)
    inner = w[:-1] / scale[:, None]
    return torch.cat([inner, w[-1:] - mean @ inner])


def gradient(
    z: torch.Tensor, y: torch.Tensor, w: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Gradient of the pixels' mean cross-entropy in the weights w [D, C] of tokens z [P, B, D].

    y: uint8 [h, w, B], the pixels to which the `upsampler` rows [h, side] and columns [w, side]
    lead; IGNORED ones count for nothing. Written out: upsampling is a matrix along each axis of
    the logits' grid, so its transpose
    brings the pixels' errors back to the patches, some ten times cheaper than autograd through
    `interpolate`. Images come last, so that every product is one large one.
    """
    error = logits(z, w, rows, columns).softmax(2)
    height, width, classes, images = error.shape
    one = torch.ones(1, 1, 1, 1).expand(height, width, 1, images)
    valid = y != IGNORED
    error.scatter_add_(2, torch.where(valid, y, 0)[:, :, None].long(), -one)
    error *= valid[:, :, None]
    error = columns.T @ error.view(height, width, classes * images)
    error = (rows.T @ error.view(height, -1)).view(len(z), classes, images)
    return z.flatten(0, 1).T @ error.transpose(1, 2).flatten(0, 1) / valid.sum().clamp_min(1)


def logits(
    z: torch.Tensor, w: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Logits [h, w, C, B] of tokens z [P, B, D] under weights w [D, C], upsampled bilinearly."""
    grid = (z @ w).transpose(1, 2)  # [P, C, B]
    tall = (rows @ grid.reshape(rows.shape[1], -1)).view(len(rows), columns.shape[1], -1)
    return (columns @ tall).view(len(rows), len(columns), *grid.shape[1:])


def upsampler(small: int, large: int) -> torch.Tensor:
    """Linear interpolation from `small` to `large` points as a matrix [large, small]."""
    points = torch.eye(small)[None]
    return torch.nn.functional.interpolate(points, size=large, mode="linear")[0].T


def predict(x: torch.Tensor, w: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Predicted maps int64 [N, H, W] of raw tokens x [N, P, D], weights w [D + 1, C] of `fit`."""
    sides = [upsampler(_side(x), n) for n in size]
    parts = [logits(part.transpose(0, 1), w[:-1], *sides) for part in x.split(64)]
    return torch.cat([(part + w[-1][:, None]).argmax(2).permute(2, 0, 1) for part in parts])


def _side(x: torch.Tensor) -> int:
    """Patches along one side of the (square) grid of tokens [B, P, D]."""
    side = round(x.shape[1] ** 0.5)
    if side**2 != x.shape[1]:
        raise StageError(f"{x.shape[1]} patch tokens make no square grid: leave out class tokens")
    return side
