"""Linear heads at many learning rates, trained in one pass: DINOv2's and DINOv3's linear probe.

There (facebookresearch/dinov2, `dinov2/eval/linear.py`) each rate has a module of its own, all fed
by the same batches. Here the heads are one weight matrix of rates * classes columns and the
gradient is written out: one product forward, one back. As there: SGD, momentum 0.9, no decay,
cosine to 0, weights drawn from N(0, 0.01), intercept 0, base rates times batch / 256.

Two things differ. Features are standardised (MAE's linear probe has a batch norm there, He et al.
2022): a rate means the same then for every encoder, layer and for pixels. And the best head is
chosen on a slice of train, then trained again on all of train; DINO chooses on the set it reports.
"""

from collections.abc import Sequence

import numpy as np
import torch

from steps.encoder.logistic import accuracy, check, onto_raw, scaling, slices

RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1)
"""DINOv2's base rates."""
MOMENTUM, SPREAD, UNIT = 0.9, 0.01, 256  # UNIT: the batch for which base rates are meant


def fit(
    x: np.ndarray,
    codes: np.ndarray,
    classes: int,
    rates: Sequence[float] = RATES,
    epochs: int = 10,
    batch: int = 128,
    seed: int = 0,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """One head for each rate: weights float64 [R, D + 1, classes], the intercept last.

    Features x [N, D] and integer codes [N] of train, of which `rows` are used (default all), read
    a batch at a time; `x @ w[r, :-1] + w[r, -1]` are logits of raw features. All heads begin at the
    same weights and see the same batches, drawn by `seed`. Raises as `logistic.check` does.
    """
    rows = check(x, codes, classes, rows)
    mean, scale = scaling(x, rows)
    dice = torch.Generator().manual_seed(seed)
    start = torch.zeros(x.shape[1] + 1, classes)
    start[:-1] = SPREAD * torch.randn(x.shape[1], classes, generator=dice)
    w = start.repeat(1, len(rates))
    pace = torch.tensor(rates, dtype=torch.float32).repeat_interleave(classes) * batch / UNIT
    speed = torch.zeros_like(w)
    steps, step = epochs * -(-len(rows) // batch), 0
    for _ in range(epochs):
        for part in torch.randperm(len(rows), generator=dice).split(batch):
            now = 0.5 * (1 + np.cos(np.pi * step / steps))
            step += 1
            numbers = rows[part.numpy()]
            z = torch.ones(len(part), len(w))
            z[:, :-1] = torch.from_numpy((x[numbers] - mean) / scale)
            y = torch.from_numpy(codes[numbers].astype(np.int64))
            speed.mul_(MOMENTUM).add_(gradient(z, y, w, classes))
            w.addcmul_(speed, pace, value=-now)
    heads = w.view(len(w), len(rates), classes).transpose(0, 1)
    return onto_raw(heads.double().numpy(), mean, scale)


def gradient(z: torch.Tensor, y: torch.Tensor, w: torch.Tensor, classes: int) -> torch.Tensor:
    """Gradient [D + 1, R * classes] of all heads' mean cross-entropies, summed, in their weights w.

    z [B, D + 1]: features and a column of ones; y int64 [B]: classes.
    """
    error = (z @ w).view(len(z), -1, classes).softmax(2)
    error[torch.arange(len(z)), :, y] -= 1
    return z.T @ error.view(len(z), -1) / len(z)


def path(
    x: np.ndarray,
    codes: np.ndarray,
    classes: int,
    rates: Sequence[float] = RATES,
    epochs: int = 10,
    batch: int = 128,
    seed: int = 0,
    share: float = 0.1,
) -> tuple[np.ndarray, float]:
    """Weights [D + 1, classes] at the best of `rates`, trained on all of x [N, D], and that rate.

    Best is the highest accuracy on a slice (`share`) of the samples, after training on the others;
    of equals, the smaller rate, which stays nearer to the start. Arguments as in `fit`.
    """
    chosen, rest = slices(len(check(x, codes, classes)), share, seed)
    rates = sorted(rates)
    heads = fit(x, codes, classes, rates, epochs, batch, seed, rest)
    best = rates[int(np.argmax([accuracy(x, codes, w, chosen) for w in heads]))]
    return fit(x, codes, classes, [best], epochs, batch, seed)[0], best
