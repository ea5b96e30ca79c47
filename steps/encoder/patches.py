"""Patch-level multi-label probe: what a patch token tells about its own place, and no decoder.

Patch-Seg (Covert et al. 2024, arXiv 2410.11087; iancovert/patch-seg, `scripts/train.py`), the
segmentation probe of PIVOT: for every patch, which classes does it hold? A linear layer or a
two-layer MLP on each token alone, binary cross-entropy over patches and classes, AdamW, warm-up
and cosine. Its number is the macro recall at a threshold of one half, which a head improves by
saying yes more often; so precision, F1 and average precision stand beside it.

The control needs no location: the same head on the image's mean token, its one answer repeated at
every patch, trained and scored on the same labels of patches (the code's own `global-union` is
scored on labels of images: its numbers cannot be subtracted). Local minus global is what the
tokens tell about where, and not about what. Tokens that know their position tell where things
mostly are, and gain by that too; noise in each token, which a mean is rid of, counts against them.

Five things differ from that code. Tokens are standardised. The threshold is chosen on a slice of
train and no epoch is chosen; there, the best epoch on the reported images is taken. Warm-up is a
share of the steps. Majority labels are trained and scored as the others are, not with a softmax.
And the last intercept starts at the classes' log odds, all weights of a linear head at 0, since a
small study takes too few steps to get there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, gelu

from steps.encoder import patch_labels as of
from steps.encoder.logistic import onto_raw, scaling, slices

BETAS = (0.9, 0.999)  # of AdamW


@dataclass(frozen=True)
class Recipe:
    """How a head is trained. hidden: width of the MLP's hidden layer, 0 for a linear head.

    The defaults are the paper's, for thousands of steps. A few hundred need larger rates: on 400
    images of the embedded study they gave a mean average precision of 0.34, 60 epochs 0.44, and
    20 that began at 0.01 gave 0.46. rate falls to `end`, after a linear rise over the share `warm`
    of all steps (500 of some 3,150 on ADE20K); batch: images; decay: of all weights; share: of
    train, for the threshold.
    """

    hidden: int = 0
    epochs: int = 5
    batch: int = 32
    rate: float = 1e-3
    end: float = 1e-4
    warm: float = 0.16
    decay: float = 0.01
    share: float = 0.2


@dataclass(frozen=True)
class Answers:
    """One head's answers on the M test images.

    threshold: the one chosen on a slice of train; counts: tp, fp, fn there, int [3, M, C], to
    bootstrap over images; sweep: macro figures by threshold; classes: precision, recall, F1 at the
    chosen threshold and average precision, of each class that occurs; weights: see `fit`.
    """

    threshold: float
    counts: np.ndarray
    sweep: pd.DataFrame
    classes: pd.DataFrame
    weights: list[torch.Tensor]

    def metrics(self) -> dict[str, float]:
        """Macro figures at the chosen threshold and at one half, and `map`.

        `paper_macro_recall` is Patch-Seg's and PIVOT's number: macro recall at one half.
        """
        half = self.sweep[self.sweep.threshold == of.HALF].iloc[0]
        told = {"threshold": self.threshold, **self.classes[["precision", "recall", "f1"]].mean()}
        told |= {"map": self.classes.average_precision.mean(), "paper_macro_recall": half.recall}
        told |= {"precision_at_half": half.precision, "f1_at_half": half.f1}
        return {name: float(value) for name, value in told.items()}


@dataclass(frozen=True)
class Probe:
    """`local`, the head on patch tokens, and `everywhere`, the control on their mean.

    metrics: `local/...`, `global/...`, `localisation/f1` and `/map` (local minus global, each at
    its own chosen threshold) and `prior/...` (yes to all).
    """

    local: Answers
    everywhere: Answers
    metrics: dict[str, float]


def probe(
    x: np.ndarray,
    maps: np.ndarray,
    names: Sequence[str],
    train: np.ndarray,
    test: np.ndarray,
    recipe: Recipe = Recipe(),  # noqa: B008  it is frozen
    seed: int = 0,
    kind: str = "union",
    ignored: int | None = None,
) -> Probe:
    """Both heads on patch tokens x [N, P, D], any float, and maps uint8 [N, H, W].

    names: of all classes, background first; train, test: numbers of images; kind, ignored: see
    `patch_labels.labels`. The test images' labels are looked at only to score. Raises as
    `patch_labels.check` and `labels` do.
    """
    side = of.check(maps, x.shape, len(names), train, test, ignored)
    y = of.labels(maps, side, len(names), kind, ignored)
    known = y.any(2)
    # Cross-entropy is linear in the label: an answer for all patches is trained on their mean.
    each = known.sum(1, keepdims=True).astype(np.float32)
    mean = y.sum(1, keepdims=True, dtype=np.float32) / np.maximum(each, 1)[..., None]
    whole = x.mean(1, dtype=np.float32, keepdims=True)
    local = _answers(x, y, y, known, train, test, recipe, seed)
    everywhere = _answers(whole, mean, y, each, train, test, recipe, seed)
    metrics, here, there = {}, local.metrics(), everywhere.metrics()
    for name, figures in (("local", here), ("global", there), ("prior", of.prior(y[test]))):
        metrics |= {f"{name}/{key}": value for key, value in figures.items()}
    metrics |= {f"localisation/{key}": here[key] - there[key] for key in ("f1", "map")}
    return Probe(local, everywhere, metrics)


def _answers(x, targets, y, weight, train, test, recipe: Recipe, seed: int) -> Answers:
    chosen, rest = slices(len(train), recipe.share, seed)
    trial = fit(x, targets, weight, train[rest], recipe, seed)
    told = predict(x[train[chosen]], trial)
    threshold = of.choose(of.sweep(told, y[train[chosen]]))
    w = fit(x, targets, weight, train, recipe, seed)
    told = predict(x[test], w)
    counts = of.counts(told, y[test], threshold)
    classes = of.table(counts.sum(1)).assign(average_precision=of.precisions(told, y[test]))
    return Answers(threshold, counts, of.sweep(told, y[test]), classes, w)


def fit(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, rows: np.ndarray, recipe: Recipe, seed: int
) -> list[torch.Tensor]:
    """Train a head on the images `rows` of tokens x [N, P, D], read a batch at a time.

    y [N, P, C]: labels, or shares of them; weight [N, P]: what each token counts, 0 for none.
    Returns a float32 matrix a layer, [D + 1, C] or [D + 1, hidden] and [hidden + 1, C], the
    intercept last, for raw tokens: see `predict`.
    """
    width, classes, count = x.shape[2], y.shape[2], len(rows)
    tokens = rows[:, None] * x.shape[1] + np.arange(x.shape[1])
    exact = scaling(x.reshape(-1, width), tokens.ravel())
    mean, scale = (n.astype(np.float32) for n in exact)
    dice = torch.Generator().manual_seed(seed)
    layers = _start(width, recipe.hidden, y[rows], weight[rows], dice)
    first, second = ([torch.zeros_like(w) for w in layers] for _ in BETAS)
    steps, step = recipe.epochs * -(-count // recipe.batch), 0
    for _ in range(recipe.epochs):
        for part in torch.randperm(count, generator=dice).split(recipe.batch):
            seen = rows[part.numpy()]
            z = torch.from_numpy(((x[seen] - mean) / scale).reshape(-1, width))
            truth = torch.from_numpy(y[seen].reshape(-1, classes)).float()
            each = torch.from_numpy(weight[seen].reshape(-1, 1)).float()
            loss = binary_cross_entropy_with_logits(logits(z, layers), truth, each, reduction="sum")
            slopes = torch.autograd.grad(loss / (each.sum().clamp_min(1) * classes), layers)
            now, step = pace(step, steps, recipe), step + 1
            with torch.no_grad():  # AdamW (Loshchilov & Hutter 2019), as in `head.fit`
                for w, a, b, g in zip(layers, first, second, slopes, strict=True):
                    w -= now * recipe.decay * w
                    a.lerp_(g, 1 - BETAS[0])
                    b.lerp_(g * g, 1 - BETAS[1])
                    spread = (b / (1 - BETAS[1] ** step)).sqrt() + 1e-8
                    w -= now * a / (1 - BETAS[0] ** step) / spread
    done = [w.detach() for w in layers]
    raw = onto_raw(done[0].double().numpy(), *exact)
    return [torch.from_numpy(raw.astype(np.float32)), *done[1:]]


def _start(
    width: int, hidden: int, y: np.ndarray, weight: np.ndarray, dice: torch.Generator
) -> list[torch.Tensor]:
    """Weights to begin from: torch's of a linear layer, but for what the module's text says."""
    sizes = [width, hidden, y.shape[2]] if hidden else [width, y.shape[2]]
    layers = [(2 * torch.rand(a + 1, b, generator=dice) - 1) / a**0.5 for a, b in pairwise(sizes)]
    yes = (y * weight[..., None]).sum((0, 1))
    if not hidden:
        layers[-1].zero_()
    layers[-1][-1] = torch.from_numpy(np.log((yes + 0.5) / (weight.sum() - yes + 0.5)))
    return [w.requires_grad_() for w in layers]


def pace(step: int, steps: int, recipe: Recipe) -> float:
    """Learning rate of a step, counted from 0: timm's cosine, its beginning cut by the warm-up."""
    if step < (warm := round(recipe.warm * steps)):
        return recipe.rate * (step + 1) / warm
    return recipe.end + 0.5 * (recipe.rate - recipe.end) * (1 + np.cos(np.pi * step / steps))


def logits(z: torch.Tensor, layers: list[torch.Tensor]) -> torch.Tensor:
    """Logits [T, C] of tokens z [T, D] through layers [in + 1, out], GELU between them."""
    for w in layers[:-1]:
        z = gelu(torch.addmm(w[-1], z, w[:-1]))
    return torch.addmm(layers[-1][-1], z, layers[-1][:-1])


def predict(x: np.ndarray, layers: list[torch.Tensor]) -> np.ndarray:
    """Probabilities float32 [M, P, C] of raw tokens x [M, P, D] under the layers of `fit`."""
    told = []
    for first in range(0, len(x), 64):
        part = torch.from_numpy(x[first : first + 64].astype(np.float32))
        told.append(logits(part.flatten(0, 1), layers).sigmoid().view(*part.shape[:2], -1))
    return torch.cat(told).numpy()
